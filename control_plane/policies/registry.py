"""The policy kinds: one folder each, found by scanning. Adding a kind edits nothing outside its folder.

The folder is named after the kind in lower case. It holds `spec.py` (the class of that name), `envoy.py` (its
hooks, loaded by `hook_registry`), `example.yaml` and `golden.diff`. Nothing here loads Envoy's messages.
A kind is loaded when it is looked up: a command that handles one of thirty kinds pays for one.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from meshwright.control_plane import policies
from meshwright.control_plane.policies.base import Policy


@cache
def _load_kind(name: str, module_name: str) -> type[Policy]:
    module = import_module(module_name)
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Policy) and value.__name__.lower() == name:
            return value
    raise ImportError(f"{module_name} has no Policy {name}")


def _forms(kind: str) -> tuple[str, ...]:
    """Singular and plurals of a kind's name, in lower case."""
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}es"
    return kind, f"{kind}s", plural


class KindModules(Mapping[str, type[Policy]]):
    """Kinds by name, each loaded when it is looked up, all of them by iteration.

    `groups`: the module of each by its name in lower case; iteration sorts within a group.
    """

    def __init__(self, *groups: Mapping[str, str]) -> None:
        self._groups = groups
        self._modules = {name: module for group in groups for name, module in group.items()}

    def __getitem__(self, name: str) -> type[Policy]:
        module = self._modules.get(name.lower())
        kind = _load_kind(name.lower(), module) if module else None
        if kind is None or kind.__name__ != name:
            raise KeyError(name)
        return kind

    def name_of(self, word: str) -> str | None:
        """The name of the kind that a word stands for, in any case, singular or plural."""
        form = word.lower()
        modules = ((name, module) for name, module in self._modules.items() if form in _forms(name))
        return next((_load_kind(name, module).__name__ for name, module in modules), None)

    def __iter__(self) -> Iterator[str]:
        for group in self._groups:
            yield from sorted(_load_kind(name, module).__name__ for name, module in group.items())

    def __len__(self) -> int:
        return len(self._modules)

    def __or__(self, other: KindModules) -> KindModules:
        return KindModules(*self._groups, *other._groups)


@cache
def kinds() -> KindModules:
    """Every kind of policy by its name, sorted."""
    return KindModules({folder: f"{policies.__name__}.{folder}.spec" for folder in _folders()})


@cache
def kind_names() -> tuple[str, ...]:
    """The name of every kind, sorted, as its example spells it: no kind is loaded."""
    spelled = (re.search(rf"^kind: ({folder})$", _example_text(folder), re.M | re.I) for folder in _folders())
    return tuple(sorted(match[1] for match in spelled if match))


def _folders() -> list[str]:
    return [info.name for info in pkgutil.iter_modules(policies.__path__) if info.ispkg]


def example(kind: str) -> str:
    """The text of the kind's `example.yaml`; raises KeyError for an unknown kind."""
    return _example_text(kinds()[kind].__name__.lower())


def _example_text(folder: str) -> str:
    return (Path(__file__).parent / folder / "example.yaml").read_text(encoding="utf-8")
