"""What the leader of a push sees: the affected proxies, which of them dropped off, and their figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.models.push import Push
from meshwright.control_plane.core.world import World
from meshwright.control_plane.push.judge import ProxyTraffic, compare
from meshwright.control_plane.push.step import AffectedProxy, PushObservation
from meshwright.control_plane.status.acks import has_accepted, has_rejected
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters


class PushObserver:
    """Observes one push after the other; remembers what cannot be seen later. Times are epoch seconds."""

    def __init__(
        self, watch: float, before: Callable[[Iterable[str]], Mapping[str, UpstreamCounters]]
    ) -> None:
        """`before`: what services did before the trial. `watch`: seconds."""
        self._watch = watch
        self._revision = 0
        self._gone_since: dict[str, float] = {}
        self._drops: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._reached: dict[str, float] = {}
        self._before = before

    def watched_since(self, push: Push, proxies: Sequence[ProxyStatus], now: float) -> dict[str, float]:
        """Since when the requests of proxies count, by `service/name` and by the clock of `now`.

        Those with the revision: since they were first seen to have it. The others of their services: since
        the first of these, so that the same time is compared.
        """
        self._start(push)
        by_key = {f"{proxy.service}/{proxy.name}": proxy for proxy in proxies}
        first: dict[str, float] = {}
        for key in push.admitted:
            if (proxy := by_key.get(key)) and has_accepted(proxy, push.revision):
                reached = self._reached.setdefault(key, now)
                first[proxy.service] = min(reached, first.get(proxy.service, reached))
        return {
            key: self._reached.get(key, first.get(proxy.service, now))
            for key, proxy in by_key.items()
            if key in push.admitted or (push.phase != "after" and proxy.service in first)
        }

    def _start(self, push: Push) -> None:
        if push.revision != self._revision:
            self._revision = push.revision
            self._gone_since, self._drops, self._seen, self._reached = {}, Counter(), set(), {}

    def observe(
        self,
        push: Push,
        proxies: Sequence[ProxyStatus],
        world: World,
        traffic: Sequence[ProxyTraffic],
        now: float,
    ) -> PushObservation:
        """What is seen now. `traffic` is that of the affected services."""
        self._start(push)
        requests = {f"{item.service}/{item.name}": item.requests for item in traffic}
        before = self._before({key.partition("/")[0] for key in push.admitted})
        # Once it is in force, those that came since have it, too.
        having = requests if push.phase == "after" else push.admitted
        burn, figures = compare(traffic, having, before)
        return PushObservation(
            now, tuple(self._affected(push, proxies, world, requests, now)), "", burn, figures, self._watch
        )

    def _affected(
        self,
        push: Push,
        proxies: Sequence[ProxyStatus],
        world: World,
        requests: Mapping[str, float],
        now: float,
    ) -> Iterable[AffectedProxy]:
        by_key = {f"{proxy.service}/{proxy.name}": proxy for proxy in proxies}
        admitted = frozenset(push.admitted)
        for key in admitted | {key for key, proxy in by_key.items() if proxy.trial_revision == push.revision}:
            service, _, name = key.partition("/")
            proxy = by_key.get(key)
            connected = proxy is not None and proxy.state != "disconnected"
            gone = self._absence(key, now, connected=connected) if key in admitted else float(not connected)
            # One that a new leader has never seen may as well have crashed: its lease is gone by then, too.
            if gone and (key in self._seen or key not in admitted) and has_left(world, service, name):
                continue
            yield AffectedProxy(
                service,
                name,
                accepted=proxy is not None and connected and has_accepted(proxy, push.revision),
                rejection=proxy.error if proxy and has_rejected(proxy, push.revision) else "",
                gone=gone,
                drops=self._drops[key],
                requests=requests.get(key, 0.0),
            )

    def _absence(self, key: str, now: float, *, connected: bool) -> float:
        """Seconds since a proxy lost its stream; 0 if it has one."""
        if connected:
            self._seen.add(key)
            self._gone_since.pop(key, None)
            return 0.0
        if key not in self._gone_since:
            self._gone_since[key] = now
            self._drops[key] += 1
        return max(now - self._gone_since[key], 0.001)


def has_left(world: World, service: str, name: str) -> bool:
    """Whether a proxy of a service or gateway left as planned: its lease is gone, and no failure took it.

    The lease of one that crashed outlasts the time after which it counts as gone.
    """
    registered = world.services.get(service)
    if registered is None:
        instances = world.gateway_instances.get(service, ())
    elif registered.departure and registered.departure.failure:
        return False
    else:
        instances = registered.instances
    return all(instance.name != name for instance in instances)
