"""What happened between two pictures of the mesh. Pure: pictures and the time go in, events come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.base import Breaker, DocumentChange, InstanceHealth, RevisionInfo
from meshwright.control_plane.api.models.events import MESSAGE_LIMIT, Event, EventKind, Severity
from meshwright.control_plane.events.state import EdgeKey, MeshState, ProxyKey
from meshwright.control_plane.store.events import EventEntry

DISCONNECT_GRACE = 2.0
"""Seconds for which a sidecar must be gone to be told of: one that renews its connection is back sooner."""

MAX_INDIVIDUAL = 5
"""Proxies of which the same is told one by one; more become one event."""

NAMED_SUBJECTS = 3
"""Of these as many are named."""

MAX_AUTHORS = 100
"""Revisions whose authors are remembered for what follows from them."""


@dataclass(slots=True)
class ChangeDetector:
    """What was told last, and who made the newest revisions. `now` in seconds since the epoch."""

    _last: MeshState | None = None
    _gone: dict[ProxyKey, float] = field(default_factory=dict)
    _authors: dict[int, str] = field(default_factory=dict)

    @property
    def last_instances(self) -> Mapping[str, tuple[str, InstanceHealth]]:
        """Service and health of the instances that were seen last, by name."""
        return self._last.instances if self._last else {}

    def detect(self, picture: MeshState, now: float, revision: int) -> list[EventEntry]:
        """What is to be told of `picture` after the last one; `revision` is the newest that is served."""
        before, self._last = self._last, picture
        known = before or MeshState()
        entries = [
            *_many(self._proxies(known, picture, now, revision)),
            *_breakers(known, picture, now),
            *_ejections(known, picture, now),
        ]
        if before is not None and picture.instances != before.instances:
            entries += _health(before, picture, now)
        return entries

    def detect_revisions(self, infos: Iterable[RevisionInfo]) -> list[EventEntry]:
        """What is to be told of new revisions, oldest first."""
        entries = []
        for info in infos:
            self._authors[info.revision] = info.author
            while len(self._authors) > MAX_AUTHORS:
                del self._authors[next(iter(self._authors))]
            entries.append(_revision(info))
        return entries

    def _proxies(self, before: MeshState, after: MeshState, now: float, revision: int) -> Iterator[Event]:
        for key, words in after.rejections.items():
            known = before.rejections.get(key)
            if known is None and self._gone.pop(key, None) is None:
                yield _of(key, now, "sidecar", "connected")
            if words and words != known:
                event = _of(key, now, "nack", f"Envoy refuses: {words}", "error")
                author = self._authors.get(revision, "")
                yield event.model_copy(update={"revision": revision, "author": author})
            elif known and not words:
                event = _of(key, now, "nack", "Envoy takes its configuration again")
                yield event.model_copy(update={"revision": revision})
        for key in before.rejections.keys() - after.rejections.keys():
            self._gone[key] = now
        for key, since in list(self._gone.items()):
            if now - since >= DISCONNECT_GRACE:
                del self._gone[key]
                expected = key[1] not in after.instances
                yield _of(key, now, "sidecar", "disconnected", "info" if expected else "warning")


def _breakers(before: MeshState, after: MeshState, now: float) -> Iterator[EventEntry]:
    for edge, breaker in after.breakers.items():
        was = before.breakers.get(edge)
        if was is None or was.state != breaker.state:
            yield _breaker(edge, breaker, now)
    for edge in before.breakers.keys() - after.breakers.keys():
        yield _breaker(edge, None, now)


def _breaker(edge: EdgeKey, breaker: Breaker | None, now: float) -> EventEntry:
    state = breaker.state if breaker else "closed"
    words = f"breaker {'is partly open' if state == 'partial' else 'opened' if breaker else 'closed'}"
    if breaker and breaker.ejected:
        words += f": {breaker.ejected} of {breaker.hosts} hosts ejected"
    elif breaker and breaker.limited:
        words += ": a limit is reached"
    event = Event(time=now, kind="breaker", subject=_edge(edge), message=words, severity=_SEVERITIES[state])
    return EventEntry(event, f"breaker/{edge[0]}/{edge[1]}/{state}")


_SEVERITIES: Mapping[str, Severity] = {"closed": "info", "partial": "warning", "open": "error"}


def _ejections(before: MeshState, after: MeshState, now: float) -> Iterator[EventEntry]:
    for edge in sorted(before.ejected.keys() | after.ejected.keys()):
        was, now_out = before.ejected.get(edge, frozenset()), after.ejected.get(edge, frozenset())
        for host in sorted(was ^ now_out):
            out = host in now_out
            event = Event(
                time=now,
                kind="ejection",
                subject=_edge(edge),
                message=f"{host} is taken out after failures" if out else f"{host} is let back",
                severity="warning" if out else "info",
            )
            yield EventEntry(event, f"ejection/{edge[0]}/{edge[1]}/{host}/{out}")


def _health(before: MeshState, after: MeshState, now: float) -> Iterator[EventEntry]:
    for name, (service, health) in after.instances.items():
        if name not in before.instances or before.instances[name] == (service, health):
            continue
        bad = health == "unhealthy"
        event = Event(
            time=now,
            kind="instance",
            subject=name,
            message=f"{service} {name} is {health}",
            severity="warning" if bad else "info",
        )
        yield EventEntry(event, f"instance/{name}/{health}")


def _revision(info: RevisionInfo) -> EventEntry:
    why = f": {info.message}" if info.message else ""
    event = Event(
        time=info.time,
        kind="revision",
        subject=f"revision {info.revision}",
        message=_cut(f"{_listed(info.changed)}{why}"),
        author=info.author,
        revision=info.revision,
    )
    return EventEntry(event)


def _listed(changed: tuple[DocumentChange, ...]) -> str:
    words = [f"{one.action} {one.kind}/{one.name}" for one in changed]
    more = f" and {len(words) - MAX_INDIVIDUAL} more" if len(words) > MAX_INDIVIDUAL else ""
    return ", ".join(words[:MAX_INDIVIDUAL]) + more or "nothing changed"


def _many(events: Iterable[Event]) -> list[EventEntry]:
    """Events that say the same of many become one."""
    alike: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        alike.setdefault((event.kind, event.message), []).append(event)
    told = []
    for group in alike.values():
        if len(group) <= MAX_INDIVIDUAL:
            told += group
            continue
        names = [one.subject for one in group]
        subject = f"{', '.join(names[:NAMED_SUBJECTS])} and {len(names) - NAMED_SUBJECTS} more"
        told.append(group[0].model_copy(update={"subject": subject}))
    return [EventEntry(event) for event in told]


def _of(proxy: ProxyKey, now: float, kind: EventKind, message: str, severity: Severity = "info") -> Event:
    return Event(time=now, kind=kind, subject=proxy[1], message=_cut(message), severity=severity)


def _edge(edge: EdgeKey) -> str:
    return f"{edge[0]} → {edge[1]}"


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_LIMIT else f"{text[: MESSAGE_LIMIT - 1]}…"
