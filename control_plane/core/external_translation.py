"""All ExternalServices of one world → what each caller may call outside, and the clusters for it.

What cannot be translated keeps its last state, as every destination does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.core import external_clusters, external_hosts
from meshwright.control_plane.core.external_hosts import OutsideHosts
from meshwright.control_plane.core.external_resolver import ExternalResolver
from meshwright.control_plane.core.resource import Resource


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
    result: dict[str, OutsideHosts] = {}
    for view in resolver.views(caller):
        try:
            result[view.ref] = external_hosts.build(view)
        except (TypeError, ValueError) as error:
            problems.append(f"{view.ref} keeps its last hosts: {error}")
            if view.ref in last:
                result[view.ref] = last[view.ref]
    return result


def _clusters(
    resolver: ExternalResolver, caller: str, last: Mapping[str, Resource], problems: list[str]
) -> Mapping[str, Resource]:
    result: dict[str, Resource] = {}
    for view in resolver.clusters(caller):
        try:
            result[view.name] = external_clusters.cluster(view)
        except (TypeError, ValueError) as error:
            problems.append(f"cluster {view.name} keeps its last configuration: {error}")
            if view.name in last:
                result[view.name] = last[view.name]
    return result
