"""The state of one resource type on one stream: subscribed names, versions sent and ACKed, NACKs.

No sockets, no clock. The protocol: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from meshwright.control_plane.core.resource import VHDS, Resource
from meshwright.control_plane.xds.protocol.response import Response

WILDCARD = "*"
ERROR_LIMIT = 1000
"""Characters of Envoy's error message that are kept."""

_DUMP = re.compile(r"(?P<before>.*?)\S*goo\.gle/debug.*\n: (?P<reason>.*)", re.DOTALL)
# Envoy puts the whole resource before the reason why it is invalid.

Reply = Literal["ack", "nack", "stale"]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A version that this Envoy NACKed, with its error message."""

    version: str
    message: str


@dataclass(slots=True)
class Subscription:
    """The state of one type on one stream. Resources are keyed by name.

    names            subscribed by name (for VHDS: aliases as well)
    sent, acked      version that was sent to the client; version that it ACKed
    pending          responses without a reply, oldest first
    dirty            names to compare with the configuration
    pending_replies  names to send even if their version is unchanged
    isolated         names to send in a response of their own
    rejected         NACKed versions: quarantined, never sent again
    fallbacks        older version sent instead of a NACKed one; None: reported as nonexistent
    blocked          dirty names that depend on a cluster the client NACKed → revision that introduced them
    introduced       version that is not ACKed yet → (version, revision that introduced it)

    `awaits_first_response`: the client starts with nothing and waits for a response, even an empty one.
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
        """Apply the first request of the type on this stream.

        No names means a wildcard, except for VHDS: there Envoy subscribes to nothing yet, and the hosts it
        holds from an earlier stream count as subscribed. Held versions are compared, not sent again.
        """
        requested = set(subscribe)
        self.awaits_first_response = not versions
        self.wildcard = self.type_url != VHDS and (not requested or WILDCARD in requested)
        # An empty version is a host that VHDS reported as nonexistent, and that exists by now.
        self.sent = {name: version for name, version in versions.items() if version}
        self.acked = dict(self.sent)
        self.names = requested - {WILDCARD}
        self.pending_replies = self.names - versions.keys()
        if self.type_url == VHDS:
            self.names |= versions.keys()
        self.dirty = self.names | versions.keys()

    def require_reply(self, name: str) -> None:
        """Send `name` with the next response, even if it was sent before."""
        self.pending_replies.add(name)
        self.dirty.add(name)

    def unsubscribe(self, name: str) -> None:
        """Remove a name from the subscription.

        Under a wildcard the client cannot know whether it still gets the resource, so it gets a reply.
        Otherwise it drops the resource by itself.
        """
        self.names.discard(name)
        if self.wildcard:
            self.require_reply(name)
        else:
            self.forget(name)

    def forget(self, name: str) -> None:
        """Drop all state of a resource that the client no longer has."""
        self.sent.pop(name, None)
        self.acked.pop(name, None)
        self.rejected.pop(name, None)
        self.fallbacks.pop(name, None)
        self.introduced.pop(name, None)
        self.blocked.pop(name, None)
        for names in (self.dirty, self.pending_replies, self.isolated):
            names.discard(name)

    def release(self, name: str) -> None:
        """Lift the quarantine of a resource that the client should no longer have."""
        if self.rejected.pop(name, None):
            self.sent[name] = self.acked.get(name, "")
        if not self.is_in_flight(name):
            self.introduced.pop(name, None)

    def record_introduced(self, resource: Resource, revision: int) -> int:
        """The revision that introduced this version: `revision` if the version is new to the stream."""
        version, introduced = self.introduced.get(resource.name, ("", revision))
        if version != resource.version:
            introduced = revision
            self.introduced[resource.name] = resource.version, introduced
        return introduced

    @property
    def is_caught_up(self) -> bool:
        """Whether the client replied to everything that could be sent to it."""
        return not self.pending and self.dirty <= self.blocked.keys()

    @property
    def rejected_revision(self) -> int:
        """The newest revision that introduced a NACKed or blocked version; 0 when there is none."""
        introduced = (self.introduced[name][1] for name in self.rejected if name in self.introduced)
        return max((*introduced, *self.blocked.values()), default=0)

    def record_sent(self, response: Response) -> None:
        """Record that `response` is being sent."""
        self.pending.append(response)
        self.awaits_first_response = False
        for name, version in response.items:
            if version:
                self.sent[name] = version
            rejection = self.rejected.get(name)
            if rejection and rejection.version != version and not self._is_fallback(name, version):
                del self.rejected[name]
                self.fallbacks.pop(name, None)
        for name in response.removed:
            self.sent.pop(name, None)

    def _is_fallback(self, name: str, version: str) -> bool:
        """Whether `version` is sent instead of a NACKed one; "" stands for nonexistent."""
        fallback = self.fallbacks.get(name)
        return name in self.fallbacks and version == (fallback.version if fallback else "")

    def pending_response(self, nonce: str) -> Response | None:
        """The oldest response with that nonce that has no reply yet."""
        return next((response for response in self.pending if response.nonce == nonce), None)

    def is_quarantined(self, resource: Resource) -> bool:
        """Whether the client NACKed this version of the resource."""
        rejection = self.rejected.get(resource.name)
        return rejection is not None and rejection.version == resource.version

    def on_reply(self, nonce: str, error: str | None) -> Reply:
        """Apply the reply to the oldest response with that nonce; `error` is None for an ACK."""
        response = self.pending_response(nonce)
        if response is None:
            return "stale"
        self.pending.remove(response)
        if error is None:
            self._ack(response)
            return "ack"
        if response.is_single:
            self._quarantine(response, error)
        else:
            self._retry_one_by_one(response)
        return "nack"

    def _ack(self, response: Response) -> None:
        for name, version in response.items:
            if version:
                self.acked[name] = version
            if version == self.introduced.get(name, ("",))[0]:
                self.introduced.pop(name, None)
        for name in response.removed:
            self.acked.pop(name, None)

    def _quarantine(self, response: Response, error: str) -> None:
        for name, version in response.items:
            if name in self.rejected and self._is_fallback(name, version):
                # The client NACKed the fallback too. The first version remains the rejected one.
                self.fallbacks[name] = None
                self.sent[name] = self.rejected[name].version
            # A NACK may arrive late, when a newer version is already in flight.
            elif version and self.sent.get(name) == version:
                self.rejected[name] = Rejection(version, error_text(error))

    def _retry_one_by_one(self, response: Response) -> None:
        """One bad resource fails a whole response: assume that Envoy applied none of it."""
        retries = [name for name, version in response.items if not version or self.sent.get(name) == version]
        self.pending_replies.update(retries)
        for name in response.removed:
            if name not in self.sent:
                self.sent[name] = ""
                retries.append(name)
        self.dirty.update(retries)
        self.isolated.update(retries)

    def is_in_flight(self, name: str) -> bool:
        """Whether a response that carries `name` has no reply yet."""
        return any(name == item for response in self.pending for item, _ in response.items)


def error_text(error: str) -> str:
    """Envoy's error message without the dump of the resource, at most ERROR_LIMIT characters."""
    dumped = _DUMP.fullmatch(error)
    return (dumped["before"] + dumped["reason"] if dumped else error)[:ERROR_LIMIT]
