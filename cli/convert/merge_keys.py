"""YAML's merge keys (`<<: *anchor`), which kubectl and Kuma take: their fields in place of the key."""

from __future__ import annotations

from meshwright.control_plane.api.yaml.parser import Position, SyntaxProblem, YamlNode, parse_yaml

MERGE = "<<"

_Children = dict[str | int, tuple[Position, YamlNode]]


def parse_merged(text: str) -> tuple[list[YamlNode], list[SyntaxProblem]]:
    """The documents of a text as `parse_yaml` reads them, with their merge keys applied."""
    nodes, problems = parse_yaml(text)
    return [merged(node) for node in nodes], problems


def merged(node: YamlNode) -> YamlNode:
    """The same value with its merge keys applied; a key with something else than mappings stays."""
    if not node.children:
        return node
    children: _Children = {key: (at, merged(child)) for key, (at, child) in node.children.items()}
    if isinstance(node.value, list):
        return YamlNode([child.value for _, child in children.values()], node.position, children)
    sources = _sources(children[MERGE][1]) if MERGE in children else []
    if sources:
        del children[MERGE]
    for source in sources:
        children = {**source.children, **children}
    value = {key: child.value for key, (_, child) in children.items()}
    return YamlNode(value, node.position, children)


def _sources(node: YamlNode) -> list[YamlNode]:
    """The mappings to merge, the one that has precedence first; empty if it is anything else."""
    listed = [child for _, child in node.children.values()] if isinstance(node.value, list) else [node]
    return listed if all(isinstance(each.value, dict) for each in listed) else []
