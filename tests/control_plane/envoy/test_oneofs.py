"""No constructor call sets two members of one oneof: protobuf silently keeps the last one."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from meshwright.control_plane.envoy import v3

SOURCES = sorted((Path(__file__).parents[3] / "control_plane").rglob("*.py"))


def message_of(call: ast.Call) -> Descriptor | None:
    """The message that `v3.A.B(...)` constructs; None for any other call."""
    path: list[str] = []
    node = call.func
    while isinstance(node, ast.Attribute):
        path.insert(0, node.attr)
        node = node.value
    if not (isinstance(node, ast.Name) and node.id == "v3" and path):
        return None
    target: Any = v3
    for name in path:
        target = getattr(target, name, None)
    descriptor = getattr(target, "DESCRIPTOR", None)
    return descriptor if hasattr(descriptor, "fields_by_name") else None


def may_be_absent(value: ast.expr) -> bool:
    """Whether the expression can be None: `x if condition else None`."""
    if isinstance(value, ast.IfExp):
        return may_be_absent(value.body) or may_be_absent(value.orelse)
    return isinstance(value, ast.Constant) and value.value is None


def doubles(code: str) -> list[str]:
    """`line: members` of every call that always sets more than one member of a oneof."""
    problems = []
    for call in ast.walk(ast.parse(code)):
        message = message_of(call) if isinstance(call, ast.Call) else None
        if not isinstance(call, ast.Call) or message is None:
            continue
        members: dict[str, list[str]] = {}
        for keyword in call.keywords:
            field = message.fields_by_name.get(keyword.arg or "")
            if field is not None and field.containing_oneof is not None and not may_be_absent(keyword.value):
                members.setdefault(field.containing_oneof.name, []).append(field.name)
        problems += [f"{call.lineno}: {', '.join(names)}" for names in members.values() if len(names) > 1]
    return problems


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-3:]))
def test_no_call_sets_two_members(path: Path) -> None:
    assert doubles(path.read_text()) == []


def test_protobuf_silently_keeps_the_last_member() -> None:
    assert v3.RouteMatch(prefix="/", path="/a").WhichOneof("path_specifier") == "path"


@pytest.mark.parametrize(
    ("code", "problems"),
    [
        ('v3.RouteMatch(prefix="/", path="/a")', ["1: prefix, path"]),
        ('v3.Cluster(name="a",\n type=3, cluster_type=x)', ["1: type, cluster_type"]),
        ("v3.RouteAction.HashPolicy(header=h, cookie=c, terminal=True)", ["1: header, cookie"]),
        ("v3.RouteMatch(prefix=p if p else None, path=None if p else q)", []),
        ('v3.RouteMatch(prefix="/", headers=[])', []),
        ("codec.pack(prefix=1, path=2)", []),
    ],
)
def test_calls_with_two_members_are_detected(code: str, problems: list[str]) -> None:
    assert doubles(code) == problems
