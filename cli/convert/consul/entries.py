"""Config entries of files in one form, whatever they are written in.

Consul takes `PathPrefix`, `path_prefix` and, in Kubernetes, `pathPrefix` below `spec`: here fields have the
names of Kubernetes, without `spec`. Named blocks (`Subsets`) become lists whose entries have a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from meshwright.cli.convert.consul.fields import KINDS
from meshwright.cli.convert.consul.hcl import parse_hcl
from meshwright.cli.convert.merge_keys import parse_merged
from meshwright.cli.convert.reading import Remark, Source, Value
from meshwright.control_plane.api.yaml.parser import Position, YamlNode

GROUP = "consul.hashicorp.com/"

_LISTS = frozenset(
    ("routes", "splits", "sources", "permissions", "header", "queryParam", "hashPolicies", "overrides")
)
_NAMED = frozenset(("subsets", "failover"))
_DATA = frozenset(("set", "add", "meta", "labels", "annotations", "filter"))
"""Fields whose keys are the user's."""

_COMMON = ("apiVersion", "kind", "name", "metadata", "spec", "meta", "createIndex", "modifyIndex", "hash")
_DEFAULTS = frozenset(("namespace", "partition"))
"""Fields that say nothing with the value `default`."""

_HCL = re.compile(r"^\s*\"?(kind|config_entries)\"?\s*[={]", re.IGNORECASE | re.MULTILINE)
_NAMES = {
    part.lower(): part
    for fields in KINDS.values()
    for path in (*_COMMON, *fields.converted, *fields.unsupported)
    for part in path.split(".")
}
_Children = dict[str | int, tuple[Position, YamlNode]]


def read_entries(files: Iterable[tuple[str, str]]) -> tuple[list[Value], tuple[Remark, ...]]:
    """The entries in the text of files, each with its path, and syntax errors."""
    entries: list[Value] = []
    invalid: list[Remark] = []
    for path, text in files:
        is_hcl = path.endswith(".hcl") or (path.endswith(">") and _HCL.search(text) is not None)
        nodes, problems = parse_hcl(text) if is_hcl else parse_merged(text)
        invalid += [Remark(path, *problem.position, problem.message) for problem in problems]
        for node in nodes:
            for top in _entries_in(_renamed(node)):
                flat = _without_spec(top)
                entries.append(Value(Source(path), flat, flat.position))
    return entries, tuple(invalid)


def entry_kind(value: Any) -> str:
    """The kind as Consul names it: `service-router` for ServiceRouter, too; empty for something else."""
    if not isinstance(value, Mapping):
        return ""
    kind = str(value.get("kind", ""))
    if "apiVersion" not in value:
        return kind if kind in KINDS else ""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind).lower()
    return kind if kind in KINDS and str(value["apiVersion"]).startswith(GROUP) else ""


def _entries_in(node: YamlNode) -> list[YamlNode]:
    """The entries of a document: one, a list as the API answers, kubectl's, or those of an agent's file."""
    if isinstance(node.value, list):
        return [child for _, child in node.children.values()]
    for names in (("items",), ("config_entries", "bootstrap")):
        nested: YamlNode | None = node
        for name in names:
            nested = nested.children[name][1] if nested and name in nested.children else None
        if nested and isinstance(nested.value, list):
            return [child for _, child in nested.children.values()]
    return [node]


def _without_spec(node: YamlNode) -> YamlNode:
    if "spec" not in node.children or "apiVersion" not in node.children:
        return node
    spec = node.children["spec"][1]
    if not isinstance(spec.value, dict):
        return node
    children = {key: child for key, child in node.children.items() if key != "spec"} | spec.children
    return _mapping(children, node.position)


def _renamed(node: YamlNode) -> YamlNode:
    """The same with known names, in a loop as deep as the text, which is bounded by its parser."""
    if isinstance(node.value, list):
        entries: _Children = {
            key: (position, _renamed(child)) for key, (position, child) in node.children.items()
        }
        return YamlNode([child.value for _, child in entries.values()], node.position, entries)
    if not isinstance(node.value, dict):
        return node
    result: _Children = {}
    for key, (position, child) in node.children.items():
        name = _NAMES.get(str(key).replace("_", "").lower(), str(key))
        if name in _DEFAULTS and child.value in ("default", ""):
            continue
        result.setdefault(name, (position, child if name in _DATA else _shaped(name, position, child)))
    return _mapping(result, node.position)


def _shaped(name: str, position: Position, child: YamlNode) -> YamlNode:
    if name in _NAMED and isinstance(child.value, dict):
        named: _Children = {}
        for index, (key, (at, entry)) in enumerate(child.children.items()):
            label: _Children = {"name": (at, YamlNode(str(key), at))}
            body = _renamed(entry)
            named[index] = (at, _mapping(label | body.children, at))
        return YamlNode([entry.value for _, entry in named.values()], child.position, named)
    renamed = _renamed(child)
    if name in _LISTS and isinstance(child.value, dict):
        return YamlNode([renamed.value], child.position, {0: (position, renamed)})
    return renamed


def _mapping(children: _Children, position: Position) -> YamlNode:
    return YamlNode({key: child.value for key, (_, child) in children.items()}, position, children)
