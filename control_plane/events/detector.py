"""The events between two states of the mesh. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.events import MESSAGE_LIMIT, Event, EventKind, Severity
from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.control_plane.api.models.topology import Breaker
from meshwright.control_plane.events.state import EdgeKey, MeshState, ProxyKey
from meshwright.control_plane.store.events import EventEntry

DISCONNECT_GRACE = 2.0
"""Seconds after which a missing sidecar counts as disconnected: one that reconnects is back sooner."""

MAX_INDIVIDUAL = 5
"""Proxies with the same event that get one event each; for more there is one event together."""

NAMED_SUBJECTS = 3
"""Proxies that such an event names."""

MAX_LOST = 1000
"""Lost instances whose return becomes an event."""

MAX_AUTHORS = 100
"""Revisions whose authors are remembered, for rejections of these revisions."""

_BREAKER_SEVERITY: Mapping[str, Severity] = {
    "closed": "info",
    "half-open": "warning",
    "partial": "warning",
    "open": "error",
}
_BREAKER_VERB = {
    "closed": "closed",
    "half-open": "half-open",
    "partial": "partially open",
    "open": "opened",
}


_OwnedEvent = tuple[str, Event]
# The service that causes an event, and the event.


@dataclass(slots=True)
class ChangeDetector:
    """Compares each state with the last one. `now` in seconds since the epoch."""

    _last: MeshState | None = None
    _disconnected: dict[ProxyKey, float] = field(default_factory=dict)
    _authors: dict[int, str] = field(default_factory=dict)
    _lost: dict[tuple[str, str], bool] = field(default_factory=dict)

    def detect(self, state: MeshState, now: float, revision: int) -> list[EventEntry]:
        """The events between the last state and this one. `revision`: the newest one that is served."""
        last, self._last = self._last, state
        before = last or MeshState()
        entries = [
            *_group(self._proxies(before, state, now, revision)),
            *_breakers(before, state, now),
            *_ejections(before, state, now),
            *_certificates(before, state, now),
        ]
        if last is not None and state.instances != last.instances:
            entries += _health(last, state, now)
        entries += self._returned(state, now)
        return entries

    def lost(self, instances: Iterable[tuple[str, str]]) -> None:
        """These instances lost their leases; when they are back, there is an event."""
        self._lost.update(dict.fromkeys(instances, True))

    def is_lost(self, instance: tuple[str, str]) -> bool:
        """Whether this instance lost its lease and is not back."""
        return instance in self._lost

    def _returned(self, state: MeshState, now: float) -> Iterator[EventEntry]:
        """The first state after the loss may still have an instance: it is back once it was away."""
        for key, listed in list(self._lost.items()):
            if key not in state.instances:
                self._lost[key] = False
            elif not listed:
                del self._lost[key]
                message = f"{key[0]} has {key[1]} back: its lease is renewed"
                event = Event(time=now, kind="lease", subject=key[1], message=message)
                yield EventEntry(event, f"lease/{key[0]}/{key[1]}/returned", key[0])
        while len(self._lost) > MAX_LOST:
            del self._lost[next(iter(self._lost))]

    def detect_revisions(self, revisions: Iterable[RevisionInfo]) -> list[EventEntry]:
        """One event per new revision; `revisions` are sorted, the oldest first."""
        entries = []
        for revision in revisions:
            self._authors[revision.revision] = revision.author
            while len(self._authors) > MAX_AUTHORS:
                del self._authors[next(iter(self._authors))]
            entries.append(_revision(revision))
        return entries

    def _proxies(
        self, before: MeshState, after: MeshState, now: float, revision: int
    ) -> Iterator[_OwnedEvent]:
        for key, rejection in after.rejections.items():
            last_rejection = before.rejections.get(key)
            if last_rejection is None and self._disconnected.pop(key, None) is None:
                yield key[0], _proxy_event(key, now, "sidecar", "connected")
            if rejection and rejection != last_rejection:
                event = _proxy_event(key, now, "nack", f"Envoy rejected: {rejection}", "error")
                author = self._authors.get(revision, "")
                yield key[0], event.model_copy(update={"revision": revision, "author": author})
            elif last_rejection and not rejection:
                event = _proxy_event(key, now, "nack", "Envoy accepts its configuration again")
                yield key[0], event.model_copy(update={"revision": revision})
        for key in before.rejections.keys() - after.rejections.keys():
            self._disconnected[key] = now
        for key, since in list(self._disconnected.items()):
            if now - since >= DISCONNECT_GRACE:
                del self._disconnected[key]
                severity: Severity = "warning" if key in after.instances else "info"
                yield key[0], _proxy_event(key, now, "sidecar", "disconnected", severity)


def _breakers(before: MeshState, after: MeshState, now: float) -> Iterator[EventEntry]:
    for edge, breaker in after.breakers.items():
        last = before.breakers.get(edge)
        if last is None or last.state != breaker.state:
            yield _breaker(edge, breaker, now)
    for edge in before.breakers.keys() - after.breakers.keys():
        yield _breaker(edge, None, now)


def _breaker(edge: EdgeKey, breaker: Breaker | None, now: float) -> EventEntry:
    """`breaker` None: closed."""
    state = breaker.state if breaker else "closed"
    message = f"breaker {_BREAKER_VERB[state]}"
    if breaker and breaker.ejected:
        message += f": {breaker.ejected} of {breaker.hosts} hosts ejected"
    elif breaker and breaker.limited:
        message += ": a limit is reached"
    event = Event(
        time=now, kind="breaker", subject=_edge(edge), message=message, severity=_BREAKER_SEVERITY[state]
    )
    return EventEntry(event, f"breaker/{edge[0]}/{edge[1]}/{state}", edge[0])


def _ejections(before: MeshState, after: MeshState, now: float) -> Iterator[EventEntry]:
    for edge in sorted(before.ejected.keys() | after.ejected.keys()):
        last = before.ejected.get(edge, frozenset())
        current = after.ejected.get(edge, frozenset())
        for host in sorted(last ^ current):
            is_ejected = host in current
            event = Event(
                time=now,
                kind="ejection",
                subject=_edge(edge),
                message=f"{host} ejected after failures" if is_ejected else f"{host} no longer ejected",
                severity="warning" if is_ejected else "info",
            )
            yield EventEntry(event, f"ejection/{edge[0]}/{edge[1]}/{host}/{is_ejected}", edge[0])


def _certificates(before: MeshState, after: MeshState, now: float) -> Iterator[EventEntry]:
    for key in sorted(before.certificates.keys() | after.certificates.keys()):
        last, current = before.certificates.get(key), after.certificates.get(key)
        if last == current or (current is None and key[:2] not in after.rejections):
            continue
        gateway, proxy, name = key
        message = f"{current.state}: {current.message}" if current else "in order again"
        what = f"The client certificate of {name}" if "/" in name else f"Certificate {name}"
        severity: Severity = "info"
        if current:
            severity = "error" if current.state in ("missing", "expired") else "warning"
        event = Event(
            time=now,
            kind="certificate",
            subject=proxy,
            message=_truncate(f"{what} is {message}"),
            severity=severity,
        )
        state = current.state if current else "valid"
        yield EventEntry(event, f"certificate/{gateway}/{proxy}/{name}/{state}", gateway)


def _health(before: MeshState, after: MeshState, now: float) -> Iterator[EventEntry]:
    """Both events of an instance whose process came back with another health."""
    for (service, name), instance in after.instances.items():
        last = before.instances.get((service, name), instance)
        if last.restarts < instance.restarts:
            change = f"was restarted ({instance.restarts})"
            yield _instance_event((service, name), change, instance.last_exit, now)
        if last.health != instance.health:
            yield _instance_event((service, name), f"is {instance.health}", instance.reason, now)


def _instance_event(key: ProxyKey, change: str, reason: str, now: float) -> EventEntry:
    service, name = key
    event = Event(
        time=now,
        kind="instance",
        subject=name,
        message=_truncate(f"instance of {service} {change}{reason and f': {reason}'}"),
        severity="warning" if reason or change == "is unhealthy" else "info",
    )
    return EventEntry(event, f"instance/{service}/{name}/{change}", service)


def _revision(revision: RevisionInfo) -> EventEntry:
    suffix = f": {revision.message}" if revision.message else ""
    event = Event(
        time=revision.time,
        kind="revision",
        subject=f"revision {revision.revision}",
        message=_truncate(f"{_summary(revision.changed)}{suffix}"),
        author=revision.author,
        revision=revision.revision,
    )
    return EventEntry(event)


def _summary(changed: tuple[DocumentChange, ...]) -> str:
    changes = [f"{change.action} {change.kind}/{change.name}" for change in changed]
    suffix = f" and {len(changes) - MAX_INDIVIDUAL} more" if len(changes) > MAX_INDIVIDUAL else ""
    return ", ".join(changes[:MAX_INDIVIDUAL]) + suffix or "nothing changed"


def _group(events: Iterable[_OwnedEvent]) -> list[EventEntry]:
    """Replaces many events of one owner that differ only in their subject by one."""
    groups: dict[tuple[str, str, str], list[Event]] = {}
    for owner, event in events:
        groups.setdefault((owner, event.kind, event.message), []).append(event)
    grouped = []
    for (owner, _, _), group in groups.items():
        if len(group) <= MAX_INDIVIDUAL:
            grouped += [EventEntry(event, owner=owner) for event in group]
            continue
        names = [event.subject for event in group]
        subject = f"{', '.join(names[:NAMED_SUBJECTS])} and {len(names) - NAMED_SUBJECTS} more"
        grouped.append(EventEntry(group[0].model_copy(update={"subject": subject}), owner=owner))
    return grouped


def _proxy_event(
    proxy: ProxyKey, now: float, kind: EventKind, message: str, severity: Severity = "info"
) -> Event:
    return Event(time=now, kind=kind, subject=proxy[1], message=_truncate(message), severity=severity)


def _edge(edge: EdgeKey) -> str:
    return f"{edge[0]} → {edge[1]}"


def _truncate(text: str) -> str:
    return text if len(text) <= MESSAGE_LIMIT else f"{text[: MESSAGE_LIMIT - 1]}…"
