"""Mistakes made anywhere in documents to convert: they crash nothing and make no invalid document."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

from meshwright.cli.convert.conversion import Conversion
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.control_plane.policies.loader import load

MISTAKES: list[Any] = [
    "", "x", "*", "5s", "(", "%", "A B", "99999999999h", "²", 0, -1, 1.5, 10**17, float("inf"), True,
    [], {}, ["x"], [None], [[]], {"a": "b"}, {"exact": 1}, None,
]  # fmt: skip


Convert = Callable[[Iterable[tuple[str, str]]], Conversion]


def check_mistake(convert: Convert, document: Any, place: int, mistake: Any) -> None:
    """Put a mistake at one place of a document, counted around, and convert it."""
    document = copy.deepcopy(document)
    every = list(_places(document))
    container, key = every[place % len(every)]
    container[key] = mistake
    documents = convert([("a.yaml", dump_yaml([document]))]).documents
    assert not documents or load(dump_yaml(documents).encode(), "converted.yaml").problems == ()


def check_wrong_types(convert: Convert, document: Any, ignored: Container[str]) -> None:
    """Put something else in place of every mapping and list: it is named, unless nothing reads it."""
    if any(not remark.note for remark in convert([("a.yaml", dump_yaml([document]))]).remarks):
        return
    for place, (container, key) in enumerate(_places(document, ignored)):
        original = container[key]
        if not isinstance(original, dict | list):
            continue
        for mistake in (7, "x", *([[7]] if isinstance(original, dict) else [])):
            wrong = copy.deepcopy(document)
            parent, name = list(_places(wrong, ignored))[place]
            parent[name] = mistake
            remarks = convert([("a.yaml", dump_yaml([wrong]))]).remarks
            assert any(not remark.note for remark in remarks), (document["kind"], key, mistake)


def check_mistakes_in_head(convert: Convert, document: Any) -> None:
    """Put every mistake at every field outside the specification: there the converter of a kind is chosen."""
    head = {key: value for key, value in document.items() if key != "spec"}
    for place in range(sum(1 for _ in _places(head))):
        for mistake in MISTAKES:
            check_mistake(convert, head, place, mistake)


def _places(value: Any, ignored: Container[str] = ()) -> Iterator[tuple[Any, Any]]:
    """Every entry of every mapping and list in a value, but for `ignored` keys: the container and the key."""
    for key in (
        list(value) if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    ):
        if key not in ignored:
            yield value, key
            yield from _places(value[key], ignored)
