"""What one stream asked for of one resource type, what it was told, and what it said to that.

Protocol state without sockets or clock: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from meshwright.control_plane.core.resource import VHDS, Resource
from meshwright.control_plane.xds.protocol.response import Response

WILDCARD = "*"
ERROR_LIMIT = 1000
"""Characters of an Envoy's error text that are kept."""

Reply = Literal["ack", "nack", "stale"]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A version that this Envoy refused, in its own words."""

    version: str
    message: str


@dataclass(slots=True)
class Subscription:
    """The state of one type on one stream.

    `names` were asked for by name (VHDS: aliases too). `sent` is what the client was told to have and
    `acked` what it surely has, name → version. `pending` are responses without an answer, oldest first.
    `dirty` names are to be compared with the configuration, `owed` ones answered even if unchanged, `alone`
    ones in a response of their own. `rejected` are parked: not sent again in that version; in the stead of
    some the client is given `spares`, older versions, or told that there is nothing (None). `stuck` are the
    dirty names that lack a cluster which the client refused. `since` and `stuck` tell which revision brought
    what is not ACKed: name → version and revision, name → revision.
    `unanswered`: the client begins with nothing and waits for a first answer, which may be empty.
    """

    type_url: str
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    acked: dict[str, str] = field(default_factory=dict)
    pending: deque[Response] = field(default_factory=deque)
    dirty: set[str] = field(default_factory=set)
    pending_replies: set[str] = field(default_factory=set)
    isolated: set[str] = field(default_factory=set)
    rejected: dict[str, Rejection] = field(default_factory=dict)
    fallbacks: dict[str, Resource | None] = field(default_factory=dict)
    blocked: dict[str, int] = field(default_factory=dict)
    introduced: dict[str, tuple[str, int]] = field(default_factory=dict)
    awaits_first_response: bool = False

    def open(self, subscribe: Iterable[str], versions: Mapping[str, str]) -> None:
        """Take in the first request of the type on this stream.

        No names means everything, except for VHDS: there Envoy asks for nothing yet, and what it holds from
        an earlier stream counts as asked for. What it was told before is compared, not owed.
        """
        asked = set(subscribe)
        self.awaits_first_response = not versions
        self.wildcard = self.type_url != VHDS and (not asked or WILDCARD in asked)
        # An empty version is a host that VHDS said does not exist.
        self.sent = {name: version for name, version in versions.items() if version}
        self.acked = dict(self.sent)
        self.names = asked - {WILDCARD}
        self.pending_replies = self.names - versions.keys()
        if self.type_url == VHDS:
            self.names |= versions.keys()
        self.dirty = self.names | versions.keys()

    def require_reply(self, name: str) -> None:
        """Owe the client an answer about `name`, even if it was given before."""
        self.pending_replies.add(name)
        self.dirty.add(name)

    def unsubscribe(self, name: str) -> None:
        """Unsubscribe from a name.

        Under a wildcard the client cannot know whether the name is still part of it, and is told; else it
        forgets the resource by itself.
        """
        self.names.discard(name)
        if self.wildcard:
            self.require_reply(name)
        else:
            self.forget(name)

    def forget(self, name: str) -> None:
        """Drop all that is known of a resource which the client no longer has."""
        self.sent.pop(name, None)
        self.acked.pop(name, None)
        self.rejected.pop(name, None)
        self.fallbacks.pop(name, None)
        self.introduced.pop(name, None)
        self.blocked.pop(name, None)
        for names in (self.dirty, self.pending_replies, self.isolated):
            names.discard(name)

    def release(self, name: str) -> None:
        """Drop that a name was refused: the client is not to have it any more, and if so then anew."""
        if self.rejected.pop(name, None):
            self.sent[name] = self.acked.get(name, "")
        if not self.is_in_flight(name):
            self.introduced.pop(name, None)

    def record_introduced(self, resource: Resource, revision: int) -> int:
        """The revision that brought this version; `revision` where it is seen for the first time."""
        version, since = self.introduced.get(resource.name, ("", revision))
        if version != resource.version:
            since = revision
            self.introduced[resource.name] = resource.version, since
        return since

    @property
    def is_caught_up(self) -> bool:
        """Whether the client has answered all that it could be told."""
        return not self.pending and self.dirty <= self.blocked.keys()

    @property
    def rejected_revision(self) -> int:
        """The newest revision that brought what the client refuses, or lacks for that; 0 for none."""
        brought = (self.introduced[name][1] for name in self.rejected if name in self.introduced)
        return max((*brought, *self.blocked.values()), default=0)

    def record_sent(self, response: Response) -> None:
        """Note that `response` is being sent."""
        self.pending.append(response)
        self.awaits_first_response = False
        for name, version in response.items:
            if version:
                self.sent[name] = version
            parked = self.rejected.get(name)
            if parked and parked.version != version and not self._is_fallback(name, version):
                del self.rejected[name]
                self.fallbacks.pop(name, None)
        for name in response.removed:
            self.sent.pop(name, None)

    def _is_fallback(self, name: str, version: str) -> bool:
        """Whether this is what the client is given for a version that it refused; "" for nothing."""
        spare = self.fallbacks.get(name)
        return name in self.fallbacks and version == (spare.version if spare else "")

    def pending_response(self, nonce: str) -> Response | None:
        """The oldest response with that nonce that was not answered."""
        return next((each for each in self.pending if each.nonce == nonce), None)

    def is_quarantined(self, resource: Resource) -> bool:
        """Whether the client refused this very resource."""
        rejection = self.rejected.get(resource.name)
        return rejection is not None and rejection.version == resource.version

    def on_reply(self, nonce: str, error: str | None) -> Reply:
        """Take in the client's answer to the oldest response with that nonce; `error` is None for an ACK."""
        response = self.pending_response(nonce)
        if response is None:
            return "stale"
        self.pending.remove(response)
        if error is None:
            for name, version in response.items:
                if version:
                    self.acked[name] = version
                if version == self.introduced.get(name, ("",))[0]:
                    self.introduced.pop(name, None)
            for name in response.removed:
                self.acked.pop(name, None)
            return "ack"
        if response.is_single:
            self._quarantine(response, error)
        else:
            self._retry_one_by_one(response)
        return "nack"

    def _quarantine(self, response: Response, error: str) -> None:
        for name, version in response.items:
            if name in self.rejected and self._is_fallback(name, version):
                # Not even the spare: what was refused first is what stays refused.
                self.fallbacks[name] = None
                self.sent[name] = self.rejected[name].version
            # A NACK may come late, when another version is on its way already.
            elif version and self.sent.get(name) == version:
                self.rejected[name] = Rejection(version, error[:ERROR_LIMIT])

    def _retry_one_by_one(self, response: Response) -> None:
        """One bad resource may spoil a whole response: assume that nothing of it was applied."""
        again = [name for name, version in response.items if not version or self.sent.get(name) == version]
        self.pending_replies.update(again)
        for name in response.removed:
            if name not in self.sent:
                self.sent[name] = ""
                again.append(name)
        self.dirty.update(again)
        self.isolated.update(again)

    def is_in_flight(self, name: str) -> bool:
        """Whether a response that carries `name` awaits its answer."""
        return any(name == item for response in self.pending for item, _ in response.items)
