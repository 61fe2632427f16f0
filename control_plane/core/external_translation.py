"""All ExternalServices of one world → what each caller may call outside, and the clusters for it.

What cannot be translated keeps its last state, as every destination does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from meshwright.control_plane.core import egress, external_clusters, external_hosts
from meshwright.control_plane.core.external_hosts import OutsideHosts
from meshwright.control_plane.core.external_resolver import ExternalResolver
from meshwright.control_plane.core.resource import Resource

Built = TypeVar("Built")


@dataclass(frozen=True, slots=True)
class TranslatedExternals:
    """`hosts` by caller and document, `outside` those of each caller together, `clusters` by caller and name.

    An empty caller stands for all without an entry of their own.
    """

    hosts: Mapping[str, Mapping[str, OutsideHosts]] = field(default_factory=dict)
    outside: Mapping[str, OutsideHosts] = field(default_factory=dict)
    clusters: Mapping[str, Mapping[str, Resource]] = field(default_factory=dict)


NO_EXTERNALS = TranslatedExternals()


def translate_externals(
    resolver: ExternalResolver, previous: TranslatedExternals, problems: list[str]
) -> TranslatedExternals:
    """The translation for all callers; failures are added to `problems`."""
    if not resolver.services:
        return NO_EXTERNALS
    callers = ("", *sorted(resolver.callers))
    hosts = {caller: _hosts(resolver, caller, previous.hosts.get(caller, {}), problems) for caller in callers}
    return TranslatedExternals(
        hosts,
        {caller: external_hosts.joined(by_document.values()) for caller, by_document in hosts.items()},
        {
            caller: _clusters(resolver, caller, previous.clusters.get(caller, {}), problems)
            for caller in callers
        },
    )


def _hosts(
    resolver: ExternalResolver, caller: str, last: Mapping[str, OutsideHosts], problems: list[str]
) -> Mapping[str, OutsideHosts]:
    views = ((view.ref, partial(external_hosts.build, view)) for view in resolver.views(caller))
    return _built(views, last, problems, "{} keeps its last hosts")


def _clusters(
    resolver: ExternalResolver, caller: str, last: Mapping[str, Resource], problems: list[str]
) -> Mapping[str, Resource]:
    views = [(view.name, partial(external_clusters.cluster, view)) for view in resolver.clusters(caller)]
    views += [(view.name, partial(egress.cluster, view)) for view in resolver.egress_clusters(caller)]
    return _built(views, last, problems, "cluster {} keeps its last configuration")


def _built(
    builders: Iterable[tuple[str, Callable[[], Built]]],
    last: Mapping[str, Built],
    problems: list[str],
    problem: str,
) -> Mapping[str, Built]:
    """What the builders make, by name; the last result, and a problem, where one fails."""
    result: dict[str, Built] = {}
    for name, build in builders:
        try:
            result[name] = build()
        except (TypeError, ValueError) as error:
            problems.append(f"{problem.format(name)}: {error}")
            if name in last:
                result[name] = last[name]
    return result
