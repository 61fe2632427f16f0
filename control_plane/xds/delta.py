"""The delta ADS protocol of one stream as a pure state machine: requests and configurations to responses.

Three rules go beyond the specification, because Envoy needs them:

- Make before break: what carries routes (LDS, RDS, VHDS) is held back until the clusters it needs are in
  place at this client, endpoints included; a cluster is taken away last, in a quiet moment (`on_quiet`).
- After every update of a cluster its endpoints are sent again, else Envoy warms it for 15 s.
- A response that was refused is sent again resource by resource; a refused resource is parked until its
  version changes. The same bytes are never sent for ever. Who has nothing of it gets an older one (`Proven`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from control_plane.core.resource import CDS, EDS, LDS, PUSH_ORDER, RDS, VHDS, Resource
from control_plane.envoy import v3
from control_plane.xds.needs import Key, Needs
from control_plane.xds.node_config import NodeConfig
from control_plane.xds.progress import Progress
from control_plane.xds.proven import Proven, needs
from control_plane.xds.response import Response, ResponseCache, absent_host, no_endpoints, nobody
from control_plane.xds.subscription import WILDCARD, Subscription

CARRIERS = (LDS, RDS, VHDS)
"""Types whose resources name clusters."""

NAME_LIMIT = 512
"""Bytes of a resource name; a DNS name has 255 at most (RFC 1035 section 2.3.4), with a prefix and a port."""


class Delta(Progress):
    """One stream. `limit` bounds the names that a client may subscribe to in vain, for each type.

    Names the node knows are bounded by its configuration; unknown ones come from Host headers. Beyond the
    limit they are answered as unknown and not remembered (`refused` counts them). `proven` is shared by the
    streams of one identity.
    """

    def __init__(
        self, config: NodeConfig, responses: ResponseCache, limit: int = 2000, proven: Proven | None = None
    ) -> None:
        super().__init__()
        self._config = config
        self._responses = responses
        self._limit = limit
        self._needs = Needs()
        self._proven = proven or Proven()
        self._unused: set[str] = set()
        self._strangers: dict[str, set[str]] = {}
        self.refused = 0
        self.nacks = 0

    # --- what is going on ----------------------------------------------------------------------------

    @property
    def unfinished(self) -> bool:
        """Whether `on_quiet` may have something to do."""
        return bool(self._unused) or self.held

    def interested(self, type_url: str, name: str) -> bool:
        """Whether this stream gets the resource (VHDS: or any alias of it)."""
        sub = self._types.get(type_url)
        return sub is not None and self._wants(sub, name)

    def is_acked(self, type_url: str, name: str, version: str | None = None) -> bool:
        """Whether the client has ACKed that version, or (None) what its configuration holds now."""
        sub = self._types.get(type_url)
        if sub is None:
            return False
        if version is None:
            found = self._target(sub, name)
            if found is None:
                return name not in sub.acked
            name, version = found.name, found.version
        return sub.acked.get(name) == version

    def holdings(self) -> Iterator[tuple[Resource, bool, str]]:
        """What this client should have: each resource, whether it ACKed it, and why it refused it."""
        for sub in self._types.values():
            for name in sub.sent:
                found = self._target(sub, name)
                if found is not None:
                    why = sub.rejected.get(name)
                    yield found, sub.acked.get(name) == found.version, why.message if why else ""

    def touched(self, changed: Collection[Key]) -> bool:
        """Whether any of the changed resources may concern this stream."""
        for type_url, name in changed:
            sub = self._types.get(type_url)
            if sub is None:
                continue
            # Of a name that is new, only the newer configuration can tell: an alias, a listener for all.
            if type_url in (LDS, VHDS) or name in sub.names or name in sub.sent or self._wants(sub, name):
                return True
        return False

    # --- what happens --------------------------------------------------------------------------------

    def on_request(self, request: v3.DeltaDiscoveryRequest) -> list[Response]:
        """Take in a request (a subscription, an ACK, a NACK, or two of them in one); what to send for it."""
        type_url = request.type_url
        if type_url not in PUSH_ORDER:
            return []
        sub = self._types.get(type_url)
        if sub is None:
            sub = self._open(request)
        else:
            if request.response_nonce:
                reply = self._proven.answered(sub, request, lambda name: self._target(sub, name))
                self.nacks += reply == "nack"
            self._subscribe(sub, request.resource_names_subscribe)
            self._unsubscribe(sub, request.resource_names_unsubscribe)
        return self._flush()

    def on_config(self, config: NodeConfig, changed: Collection[Key] | None) -> list[Response]:
        """Take in a newer configuration and say what to send for it.

        `changed` names all that may differ from the one before, None stands for everything.
        """
        before, self._config = self._config, config
        for type_url, name in changed or ():
            if type_url in self._types:
                self._types[type_url].dirty.add(name)
        for sub in self._types.values():
            # An alias may lead elsewhere after any change of virtual hosts.
            if changed is None or (sub.type_url == VHDS and sub.dirty):
                sub.dirty |= sub.names | sub.sent.keys()
            now, then = config.base(sub.type_url), before.base(sub.type_url)
            if sub.wildcard and (changed is None or now != then):
                sub.dirty |= now.keys() | then.keys()
        if changed is None and CDS in self._types:
            self._types[CDS].dirty |= self._needs.clusters.keys()
        return self._flush()

    def on_quiet(self) -> list[Response]:
        """Called some time after `unfinished` became true: finish what waited for a quiet moment.

        Clusters go when no route can name them any more. Routes that wait for clusters of which no news can
        come are let go: Envoy fetches those on demand.
        """
        if self.in_flight:
            return []
        if self.held:
            return self._flush(release=True)
        sub = self._types.get(CDS)
        if sub is None or any(self._types[each].rejected for each in CARRIERS if each in self._types):
            return []
        gone = sorted(name for name in self._unused if name in sub.sent and self._target(sub, name) is None)
        self._unused.clear()
        if not gone:
            return []
        response = self._responses.join(CDS, [], gone)
        sub.told(response)
        for name in gone if EDS in self._types else ():
            # Should the cluster come back, it is in place only when its endpoints are ACKed anew.
            self._types[EDS].sent.pop(name, None)
            self._types[EDS].acked.pop(name, None)
        return [response]

    # --- subscriptions -------------------------------------------------------------------------------

    def _open(self, request: v3.DeltaDiscoveryRequest) -> Subscription:
        sub = self._types[request.type_url] = Subscription(request.type_url)
        asked = list(request.resource_names_subscribe)
        admitted = [name for name in asked if self._admitted(sub, name)]
        sub.open(admitted, request.initial_resource_versions)
        if asked and not admitted:
            sub.wildcard = False
        sub.owed -= {name for name in sub.owed if self._held_as_alias(sub, name)}
        for name in set(asked).difference(admitted):
            sub.answer(name)
        if sub.wildcard:
            sub.dirty |= self._config.base(sub.type_url).keys()
        if sub.type_url == CDS:
            sub.dirty |= self._needs.clusters.keys()
        if sub.type_url == EDS and CDS in self._types:
            # A cluster that was updated just now warms until it hears of its endpoints.
            sub.owed.update(name for name in sub.names if self._types[CDS].in_flight(name))
        return sub

    def _subscribe(self, sub: Subscription, names: Iterable[str]) -> None:
        for name in names:
            if name == WILDCARD:
                if sub.type_url != VHDS:
                    sub.wildcard = True
                    sub.dirty |= self._config.base(sub.type_url).keys()
            else:
                if self._admitted(sub, name):
                    sub.names.add(name)
                sub.answer(name)

    def _unsubscribe(self, sub: Subscription, names: Iterable[str]) -> None:
        for name in names:
            if name == WILDCARD:
                sub.wildcard = False
                sub.dirty |= sub.sent.keys()
            else:
                self._strangers.get(sub.type_url, set()).discard(name)
                sub.drop(name)
                if sub.type_url in CARRIERS and not sub.wildcard:
                    self._need((sub.type_url, name), ())

    def _held_as_alias(self, sub: Subscription, name: str) -> bool:
        found = self._config.get(sub.type_url, name)
        return found is not None and found.name in sub.sent

    def _admitted(self, sub: Subscription, name: str) -> bool:
        """Whether to remember the name; if not, it is answered once as unknown."""
        if name == WILDCARD or name in sub.names:
            return True
        if self._config.get(sub.type_url, name) is not None:
            return True
        strangers = self._strangers.setdefault(sub.type_url, set())
        if len(name) <= NAME_LIMIT and len(strangers) < self._limit:
            strangers.add(name)
            return True
        self.refused += 1
        return False

    def _wants(self, sub: Subscription, name: str) -> bool:
        if name in sub.names or (sub.wildcard and name in self._config.base(sub.type_url)):
            return True
        if sub.type_url == CDS:
            return self._needs.clusters[name] > 0
        return sub.type_url == VHDS and name in sub.sent

    def _target(self, sub: Subscription, name: str) -> Resource | None:
        """What the client should have under `name`; None for nothing."""
        if not self._wants(sub, name):
            return None
        found = self._config.get(sub.type_url, name)
        if found is None and sub.type_url == EDS:
            return no_endpoints(name)
        return found

    # --- what is sent --------------------------------------------------------------------------------

    def _flush(self, release: bool = False) -> list[Response]:
        self._follow_needs()
        out: list[Response] = []
        for type_url in PUSH_ORDER:
            sub = self._types.get(type_url)
            if sub is not None and (sub.dirty or sub.unanswered):
                out += self._send(sub, release)
        self.advance(self._config.revision)
        return out

    def _follow_needs(self) -> None:
        """Bring the clusters that routes need up to what those routes will be."""
        for type_url in CARRIERS:
            sub = self._types.get(type_url)
            if sub is None or not sub.dirty:
                continue
            # Of virtual hosts all are looked at: several names may lead to one, and one may change hands.
            names = sub.names | sub.sent.keys() if type_url == VHDS else sub.dirty
            found = {each.name: needs(sub, each) for name in names if (each := self._target(sub, name))}
            former = self._needs.names(VHDS) if type_url == VHDS else names
            for name in {*found, *former}:
                self._need((type_url, name), found.get(name, ()))

    def _need(self, key: Key, needs: tuple[str, ...]) -> None:
        differing = self._needs.note(key, needs)
        if CDS in self._types:
            self._types[CDS].dirty.update(differing)

    def _send(self, sub: Subscription, release: bool) -> list[Response]:
        resources: dict[str, Resource] = {}
        removed: list[str] = []
        held: set[str] = set()
        stuck: dict[str, int] = {}
        for name in sorted(sub.dirty):
            found = self._target(sub, name)
            if found is None:
                sub.unpark(name)
                self._say_absent(sub, name, resources, removed)
            elif sub.parked(found):
                if name in sub.owed and found.name not in sub.acked:
                    self._give_instead(sub, name, found, resources, removed)
            elif name in sub.owed or found.name in sub.owed or sub.sent.get(found.name) != found.version:
                since = sub.note(found, self._config.revision)
                missing = self._missing(sub, found)
                refused = any(each in self._types[CDS].rejected for each in missing)
                if refused and found.name in sub.acked:
                    # Without the cluster the new routes would only fail: better the old ones.
                    stuck[name] = since
                elif missing and not refused and not release:
                    held.add(name)
                else:
                    resources[found.name] = found
        if sub.type_url == VHDS and sub.unanswered:
            resources |= nobody(self._types[RDS].names if RDS in self._types else ())
        held |= stuck.keys()
        alone = sub.alone - held
        sub.dirty, sub.owed, sub.alone, sub.stuck = held, sub.owed & held, sub.alone & held, stuck
        out = self._pack(sub, resources, removed, alone)
        if sub.type_url == CDS and EDS in self._types:
            self._resend_endpoints(self._types[EDS], resources)
        return out

    def _give_instead(
        self,
        sub: Subscription,
        name: str,
        refused: Resource,
        resources: dict[str, Resource],
        removed: list[str],
    ) -> None:
        """Answer for a name whose newest version the client refused, and of which it has none."""
        spare = sub.spares.get(refused.name)
        if spare is not None:
            resources[refused.name] = spare
        else:
            self._deny(sub, name, resources, removed)

    def _say_absent(
        self, sub: Subscription, name: str, resources: dict[str, Resource], removed: list[str]
    ) -> None:
        """Tell the client that it should not, or cannot, have `name`."""
        if name in sub.sent:
            if sub.type_url == CDS:
                self._unused.add(name)
            elif sub.type_url == EDS:
                sub.forget(name)
            else:
                removed.append(name)
        elif name in sub.owed:
            self._deny(sub, name, resources, removed)

    def _deny(self, sub: Subscription, name: str, resources: dict[str, Resource], removed: list[str]) -> None:
        """Answer for a name that the client does not have and cannot get."""
        if sub.type_url == VHDS:
            resources[name] = absent_host(name)
        else:
            removed.append(name)

    def _missing(self, sub: Subscription, found: Resource) -> list[str]:
        """The clusters that a resource needs and that are not in place."""
        clusters = self._types.get(CDS)
        if clusters is None or sub.type_url not in CARRIERS:
            return []
        return [name for name in found.needs if not self._in_place(clusters, name)]

    def _in_place(self, clusters: Subscription, name: str) -> bool:
        """Whether the client can send requests to this cluster, or never will from what we know."""
        if self._config.get(CDS, name) is None:
            return True
        if self._config.get(EDS, name) is None:
            return name in clusters.acked
        endpoints = self._types.get(EDS)
        return endpoints is not None and name in endpoints.acked

    def _resend_endpoints(self, endpoints: Subscription, clusters: Iterable[str]) -> None:
        for name in clusters:
            if name in endpoints.names:
                endpoints.owed.add(name)
                endpoints.dirty.add(name)

    def _pack(
        self, sub: Subscription, resources: dict[str, Resource], removed: list[str], alone: set[str]
    ) -> list[Response]:
        together = [resource for name, resource in resources.items() if name not in alone]
        apart = [resource for name, resource in resources.items() if name in alone]
        out = []
        if together or removed or (sub.unanswered and not apart and not sub.dirty):
            out.append(self._responses.join(sub.type_url, together, removed))
        out += [self._responses.join(sub.type_url, [resource], []) for resource in apart]
        for response in out:
            sub.told(response)
        return out
