"""Select the part of the schema that a mesh can encounter, as files in dependency order.

Old API versions, alphas, the admin dump formats and annotations are omitted unless an included message refers
to them. protobuf does not allow import cycles: one file per strongly connected component of messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from graphlib import TopologicalSorter

from google.protobuf import descriptor_pb2 as pb

from meshwright.control_plane.envoy.codegen.descriptors import Symbol, package_of, top_level
from meshwright.control_plane.envoy.pool import WELL_KNOWN

_INCLUDED_PACKAGES = re.compile(r"(envoy|xds)\..*\.?v3|google\.rpc|udpa\.type\.v1")
_EXCLUDED_PACKAGES = re.compile(r"envoy\.(admin|annotations|watchdog)\..*|xds\.annotations\..*")

Graph = dict[str, list[str]]


def prune(symbols: Mapping[str, Symbol]) -> list[pb.FileDescriptorProto]:
    """The files to load after those of the well-known types, each after its imports."""
    file_of = {
        f"{file.package}.{name}": file.name
        for file in WELL_KNOWN
        for name in (*file.message_types_by_name, *file.enum_types_by_name)
    }
    files = []
    graph = _reachable([name for name in symbols if _is_included(name)], symbols)
    for component in _components(graph):
        file = _file(component, symbols)
        file_of |= dict.fromkeys(component, file.name)
        imports = {file_of[used] for name in component for used in _references(symbols[name])}
        file.dependency.extend(sorted(imports - {file.name}))
        files.append(file)
    return files


def _is_included(full_name: str) -> bool:
    package = package_of(full_name)
    return bool(_INCLUDED_PACKAGES.fullmatch(package)) and not _EXCLUDED_PACKAGES.fullmatch(package)


def _references(symbol: Symbol) -> set[str]:
    """Top-level symbols that `symbol` refers to."""
    return {top_level(name.removeprefix(".")) for name in _type_names(symbol)}


def _type_names(symbol: Symbol) -> Iterator[str]:
    if isinstance(symbol, pb.DescriptorProto):
        yield from (field.type_name for field in symbol.field if field.type_name)
        for nested in symbol.nested_type:
            yield from _type_names(nested)


def _reachable(roots: Iterable[str], symbols: Mapping[str, Symbol]) -> Graph:
    """Everything the roots refer to, directly or indirectly, each with its references sorted by name."""
    graph: Graph = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in graph:
            graph[name] = sorted(used for used in _references(symbols[name]) if used in symbols)
            waiting.extend(graph[name])
    return dict(sorted(graph.items()))


def _components(graph: Graph) -> list[list[str]]:
    """Strongly connected components, each after those it depends on (Kosaraju's algorithm)."""
    reverse: Graph = {name: [] for name in graph}
    for name, used in graph.items():
        for target in used:
            reverse[target].append(name)
    component_of: dict[str, str] = {}
    for root in reversed(_post_order(list(graph), graph)):
        for name in _post_order([root], reverse, skip=component_of):
            component_of[name] = root
    members: dict[str, list[str]] = {}
    for name in graph:
        members.setdefault(component_of[name], []).append(name)
    order = TopologicalSorter(
        {
            root: sorted({component_of[used] for name in names for used in graph[name]} - {root})
            for root, names in sorted(members.items())
        }
    )
    return [members[root] for root in order.static_order()]


def _post_order(roots: list[str], graph: Graph, skip: Iterable[str] = ()) -> list[str]:
    """Depth-first post-order of the graph, without recursion."""
    seen = set(skip)
    order: list[str] = []
    for root in roots:
        if root in seen:
            continue
        seen.add(root)
        stack = [(root, iter(graph[root]))]
        while stack:
            name, rest = stack[-1]
            following = next((target for target in rest if target not in seen), None)
            if following is None:
                order.append(name)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(graph[following])))
    return order


def _file(component: list[str], symbols: Mapping[str, Symbol]) -> pb.FileDescriptorProto:
    first = min(component)
    package = package_of(first)
    if any(package_of(name) != package for name in component):
        raise ValueError(f"messages of several packages refer to each other: {', '.join(component)}")
    file = pb.FileDescriptorProto(name=f"{first.replace('.', '/')}.proto", package=package, syntax="proto3")
    for name in sorted(component):
        symbol = symbols[name]
        if isinstance(symbol, pb.EnumDescriptorProto):
            file.enum_type.append(symbol)
        else:
            file.message_type.append(symbol)
    return file
