"""What to start, replace and stop so that a host runs what it should. Pure.

Instances of one service are alike but for their names, so they are compared by what they run. One that runs
something else is replaced by a new one with a name that is free; a name comes back when its instance is gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from meshwright.sidecar.config import Workload

Action = Literal["start", "replace", "restart", "stop"]
"""replace: the new one serves before the old one is drained. restart: the old one is stopped first."""

_MAPPINGS = {"labels": "label", "env": "env", "upstreams": "upstream"}
"""Fields of a workload that are mappings, and what an entry of them is called."""

_NAMES = {"name", "token_file"}


@dataclass(frozen=True, slots=True)
class Change:
    """One instance to start, replace or stop, and why. `old` runs now, `new` is to run."""

    action: Action
    reason: str
    old: Workload | None = None
    new: Workload | None = None

    @property
    def subject(self) -> Workload:
        """The instance that it is about: the one that runs now, if there is one."""
        subject = self.old or self.new
        assert subject is not None  # noqa: S101  no change is about nothing
        return subject


def plan_changes(
    running: Sequence[Workload],
    desired: Sequence[Workload],
    *,
    taken: Collection[str] = (),
    reasons: Mapping[str, str] | None = None,
) -> tuple[Change, ...]:
    """The changes from `running` to `desired`, in the order in which they can be made.

    Of a service with too many instances those at the end of `running` are stopped. `taken` has names that
    other agents' instances have. `reasons` says why services are stopped, or why they are replaced although
    they run what they should.
    """
    before, after = _by_service(running), _by_service(desired)
    names = {*taken, *(workload.name for workload in running)}
    changes: list[Change] = []
    for service in dict.fromkeys([*after, *before]):
        changes += _service_changes(
            before.get(service, []), after.get(service, []), names, (reasons or {}).get(service, "")
        )
    return tuple(_in_order(changes))


def with_names_of(running: Sequence[Workload], desired: Sequence[Workload]) -> tuple[Workload, ...]:
    """`desired`, each under the name of its equal in `running` if there is one, else under a free one."""
    left = list(running)
    equals = []
    for new in desired:
        equal = next((old for old in left if old.service == new.service and not differences(old, new)), None)
        equals.append(equal)
        if equal is not None:
            left.remove(equal)
    names = {equal.name for equal in equals if equal is not None}
    return tuple(
        _renamed(new, equal.name if equal is not None else _free_name(new, names))
        for new, equal in zip(desired, equals, strict=True)
    )


def differences(old: Workload, new: Workload) -> list[str]:
    """What differs but the name: fields, and keys of mappings. Never values, which may be secrets."""
    result: list[str] = []
    for field in type(old).model_fields:
        before, after = getattr(old, field), getattr(new, field)
        if field in _NAMES or before == after:
            continue
        if field in _MAPPINGS:
            keys = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
            result += [f"{_MAPPINGS[field]} {key}" for key in keys]
        else:
            result.append(field.replace("_", " "))
    return result


def _by_service(workloads: Iterable[Workload]) -> dict[str, list[Workload]]:
    result: dict[str, list[Workload]] = defaultdict(list)
    for workload in workloads:
        result[workload.service].append(workload)
    return result


def _service_changes(
    running: list[Workload], desired: list[Workload], names: set[str], reason: str
) -> Iterator[Change]:
    """The changes of one service. `names` are in use, and follow the changes."""
    number = f"{len(desired)} {'instance' if len(desired) == 1 else 'instances'} instead of {len(running)}"
    replaces_all = bool(reason and desired)
    left, missing = (list(running), list(desired)) if replaces_all else _unmatched(running, desired)
    pairs = list(_pairs(left, missing))
    for old, new in pairs:
        if old is None:
            yield Change("start", number if running else "new", new=_renamed(new, _free_name(new, names)))
    for old, new in pairs:
        if old is None:
            continue
        why = ", ".join(differences(old, new)) or reason
        if _must_stop_first(old, new):
            yield Change("restart", why, old, _renamed(new, old.name))
        else:
            name = _free_name(new, names)
            names.discard(old.name)
            yield Change("replace", why, old, _renamed(new, name))
    for old in reversed(left):
        names.discard(old.name)
        yield Change("stop", number if desired else reason or "not in the application", old)


def _unmatched(running: list[Workload], desired: list[Workload]) -> tuple[list[Workload], list[Workload]]:
    """What of each has no equal in the other."""
    left, missing = list(running), []
    for new in desired:
        equal = next((old for old in left if not differences(old, new)), None)
        if equal is None:
            missing.append(new)
        else:
            left.remove(equal)
    return left, missing


def _pairs(left: list[Workload], missing: list[Workload]) -> Iterator[tuple[Workload | None, Workload]]:
    """What each missing one takes the place of: the most similar one of `left`, which gets shorter."""
    for new in missing:
        old = min(left, key=lambda item: len(differences(item, new)), default=None)
        if old is not None:
            left.remove(old)
        yield old, new


def _free_name(workload: Workload, names: set[str]) -> str:
    """The first name that no instance has; taken from now on."""
    if workload.role == "gateway":
        return workload.name
    candidates = (f"{workload.service}-{number}" for number in count(1))
    name = next(item for item in candidates if item not in names)
    names.add(name)
    return name


def _renamed(workload: Workload, name: str) -> Workload:
    return workload.model_copy(update={"name": name})


def _fixed_ports(workload: Workload) -> set[int]:
    """Ports that only one process can have."""
    return {port.app_port for port in workload.ports} - {0} | set(workload.gateway_ports.values()) - {0}


def _must_stop_first(old: Workload, new: Workload) -> bool:
    """Whether the two cannot run at once: a gateway has one instance, and a port one listener."""
    return old.role == "gateway" or bool(_fixed_ports(old) & _fixed_ports(new))


def _in_order(changes: Sequence[Change]) -> Iterator[Change]:
    """What frees a port that another change needs, then starts, replacements and stops."""
    needed = {port for change in changes if change.new for port in _fixed_ports(change.new)}

    def rank(change: Change) -> int:
        if change.action == "stop":
            return 0 if change.old and _fixed_ports(change.old) & needed else 3
        return 1 if change.action == "start" else 2

    return iter(sorted(changes, key=rank))
