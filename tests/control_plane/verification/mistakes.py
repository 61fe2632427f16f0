"""Random mistakes in good policies: of all kinds, made by a seed."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, "", "x", "x" * 5000, "a b", "é", "*", "%", "%REQ(x", "%DOWNSTREAM_REMOTE_ADDRESS%", "{{",
    "/[", "(", "[a-z]{900}", "../..", "/", "//", "?", "#", ":0", "host:99999", "::1", "10.0.0.0/99", "0s",
    "-1s", "1ms", "1000000h", -1, 0, 1, 2**31, 2**63, 1e308, 0.5, [], {}, ["*"], [[]], [None], {"x": 1},
    "orders", "nobody", "x-header", ":path", "host", "connection", "TE", "\n", "GET ", "no", "2026-01-01",
)  # fmt: skip
"""What people write by mistake, or to see what happens."""

Place = tuple[Any, Any]
"""A container and a key of it."""


def mistaken(rng: random.Random, document: dict[str, Any]) -> dict[str, Any]:
    """The document with one to three mistakes in its spec."""
    wrong = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(wrong["spec"]))
        if places:
            _spoil(rng, *rng.choice(places), places)
    return wrong


def _places(value: Any) -> Iterator[Place]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _spoil(rng: random.Random, container: Any, key: Any, places: list[Place]) -> None:
    """Replace, remove, rename or repeat what is at a place, or put there what is at another."""
    match rng.choice(("value", "value", "value", "remove", "rename", "repeat", "other", "number")):
        case "remove":
            del container[key]
        case "rename" if isinstance(container, dict):
            container[f"{key}s"] = container.pop(key)
        case "repeat" if isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        case "other":
            source, name = rng.choice(places)
            container[key] = copy.deepcopy(source[name])
        case "number" if isinstance(container[key], int):
            container[key] = container[key] * rng.choice((-1, 10, 1000, 10**6))
        case _:
            container[key] = copy.deepcopy(rng.choice(VALUES))  # a further mistake may be made in it
