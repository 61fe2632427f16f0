"""The hooks of every kind, found in the `envoy.py` of its folder. Loads Envoy's messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, get_args

from google.protobuf.message import Message

from meshwright.control_plane import policies
from meshwright.control_plane.api.node_certificates import CertificateFiles
from meshwright.control_plane.policies.base import Policy, Spec, TargetedSpec
from meshwright.control_plane.policies.hooks import FilterEntry, Hooks, ListenerDirection
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.policies.reply_reason import Reason

HookClass = type[Hooks[Any]]


def _hooks_of(kind: type[Policy]) -> HookClass:
    """The kind's subclass of Hooks; `Hooks` itself for a kind without `envoy.py`."""
    name = f"{policies.__name__}.{kind.__name__.lower()}.envoy"
    if find_spec(name) is None:
        return Hooks
    for value in vars(import_module(name)).values():
        if isinstance(value, type) and issubclass(value, Hooks) and value.__module__ == name:
            return value
    raise ImportError(f"{name} has no subclass of Hooks")


@cache
def hook_classes() -> Mapping[str, HookClass]:
    """The hooks of each kind by its name, in the order in which kinds run."""
    ordered = sorted(kinds().values(), key=lambda kind: kind.order)
    return MappingProxyType({kind.__name__: _hooks_of(kind) for kind in ordered})


@cache
def _by_spec() -> Mapping[type[Spec], HookClass]:
    result: dict[type[Spec], HookClass] = {}
    for kind, hooks in hook_classes().items():
        spec: Any = kinds()[kind].model_fields["spec"].annotation
        result[spec] = hooks
    return result


def hooks_for(
    spec: Spec,
    ref: str = "",
    clusters: Iterable[tuple[str, str]] = (),
    certificates: Iterable[tuple[str, CertificateFiles]] = (),
) -> Hooks[Any]:
    """The hooks of one spec, that of the document `ref`.

    `clusters`: of the mesh's hosts that it calls; `certificates`: the files of those that it names.
    """
    return _by_spec()[type(spec)](spec, ref, dict(clusters), dict(certificates))


def overrides(spec: Spec, hook: str) -> bool:
    """Whether the spec's kind implements `hook`, a method's name, and this spec needs it."""
    kind = _by_spec()[type(spec)]
    return getattr(kind, hook) is not getattr(Hooks, hook) and kind.needs(spec, hook)


@cache
def http_filters(direction: ListenerDirection) -> tuple[FilterEntry, ...]:
    """The filters of all kinds for listeners of this direction."""
    return tuple(entry for hooks in hook_classes().values() for entry in hooks.http_filters(direction))


@cache
def route_filters(direction: ListenerDirection) -> tuple[FilterEntry, ...]:
    """The filters that routes enable, of all kinds, for listeners of this direction."""
    return tuple(entry for hooks in hook_classes().values() for entry in hooks.route_filters(direction))


@cache
def connection_filters() -> Mapping[str, tuple[HookClass, Message]]:
    """The network filters of TCP ports by name, each with its kind and its configuration without a policy."""
    filters = {
        name: (hooks, inert)
        for hooks in hook_classes().values()
        for name, inert in hooks.connection_filters()
    }
    return MappingProxyType(dict(sorted(filters.items())))


@cache
def shared_filters(direction: ListenerDirection) -> Mapping[str, tuple[FilterEntry, ...]]:
    """The shared filters of listeners of this direction, by kind."""
    entries = ((kind, tuple(hooks.shared_filters(direction))) for kind, hooks in hook_classes().items())
    return MappingProxyType({kind: filters for kind, filters in entries if filters})


@cache
def hooks_of_shared_filter(name: str) -> HookClass:
    """The hooks of the kind with a shared filter of this name; `Hooks` itself if there is none."""
    for direction in get_args(ListenerDirection):
        for kind, filters in shared_filters(direction).items():
            if any(name == shared for _, shared, _ in filters):
                return hook_classes()[kind]
    return Hooks


@cache
def reply_reasons(direction: ListenerDirection | None = None) -> tuple[Reason, ...]:
    """Why filters of kinds respond in place of the upstream; without a direction: all of them."""
    return tuple(
        reason
        for hooks in hook_classes().values()
        if direction is None or hooks.shared_filters(direction) or hooks.route_filters(direction)
        for reason in hooks.reply_reasons
    )


@cache
def direct_responses() -> Mapping[str, str]:
    """Why routes that kinds add respond themselves, by the route's name."""
    merged: dict[str, str] = {}
    for hooks in hook_classes().values():
        merged |= hooks.direct_responses
    return MappingProxyType(merged)


def default_specs() -> Iterator[tuple[str, TargetedSpec]]:
    """Kinds that shape every listener, with the spec in force where no policy is attached."""
    for kind, hooks in hook_classes().items():
        if hooks.default_spec is not None:
            yield kind, hooks.default_spec


def kinds_explaining(flag: str, details: str = "") -> Mapping[str, tuple[str, ...]]:
    """Kinds responsible for a response flag, each with the spec fields to look at.

    `details` are the request's `%RESPONSE_CODE_DETAILS%`. Empty fields: any field may be responsible.
    """
    fields: dict[str, tuple[str, ...]] = {}
    for kind, hooks in hook_classes().items():
        for symptom in hooks.explains:
            if symptom.flag == flag and symptom.details in details:
                fields.setdefault(kind, symptom.fields)
    return fields


def kinds_denying(details: str) -> tuple[str, ...]:
    """Kinds that refuse requests with these `%RESPONSE_CODE_DETAILS%` and without a response flag."""
    return tuple(
        kind
        for kind, hooks in hook_classes().items()
        if any(details.startswith(reason.details) for reason in hooks.reply_reasons)
    )


GATE_FLAGS = frozenset({"RL", "UAEX"})
"""Response flags of requests that a filter refused by a policy: a rate limit, external authorization."""


def kinds_refusing(details: str, route: str = "", flags: str = "") -> tuple[str, ...]:
    """Kinds that refused a request: by a filter, a response flag, or a route of their own.

    `details`, `route` and `flags` are those of the request's record.
    """
    if details == "direct_response":
        return tuple(kind for kind, hooks in hook_classes().items() if route in hooks.direct_responses)
    if denying := kinds_denying(details):
        return denying
    gates = GATE_FLAGS.intersection(flags.split(","))
    return tuple(kind for flag in sorted(gates) for kind in kinds_explaining(flag, details))


def kinds_by_flag() -> Mapping[str, tuple[str, ...]]:
    """Every response flag that some kind may cause, with those kinds."""
    flags: dict[str, dict[str, None]] = {}
    for kind, hooks in hook_classes().items():
        for symptom in hooks.explains:
            if symptom.flag:
                flags.setdefault(symptom.flag, {})[kind] = None
    return {flag: tuple(names) for flag, names in flags.items()}
