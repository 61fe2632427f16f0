"""Policies of one kind for tests: written as documents, applied, and deleted afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.envoy.harness import Mesh


def policy_document(kind: str, name: str, target: str, **spec: Any) -> str:
    """A policy of the mesh's own kinds; `target` is one reference in YAML."""
    fields = json.dumps(spec)[1:-1]
    head = f"---\napiVersion: meshwright.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\n"
    return f"{head}spec: {{targetRefs: [{target}], {fields}}}\n"


@contextmanager
def applying(mesh: Mesh, kind: str, write: Callable[..., str]) -> Iterator[Callable[..., None]]:
    """Yields what applies the document that `write` returns for a name and more arguments."""
    names: list[str] = []

    def apply(name: str, *arguments: Any, **spec: Any) -> None:
        names.append(name)
        mesh.apply(write(name, *arguments, **spec))

    yield apply
    for name in dict.fromkeys(names):
        mesh.delete(kind, name)
