"""The policy kinds: one folder each, found by scanning. Adding a kind edits nothing outside its folder.

The folder is named after the kind in lower case. It holds `spec.py` (the class of that name), `envoy.py` (its
hooks, loaded by `hook_registry`), `example.yaml` and `golden.diff`. Nothing here loads Envoy's messages.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from meshwright.control_plane import policies
from meshwright.control_plane.policies.base import Policy


def _kind_in(folder: str) -> type[Policy]:
    module = import_module(f"{policies.__name__}.{folder}.spec")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Policy) and value.__name__.lower() == folder:
            return value
    raise ImportError(f"{module.__name__} has no Policy named like its folder")


@cache
def kinds() -> Mapping[str, type[Policy]]:
    """Every kind by its name, sorted."""
    folders = [info.name for info in pkgutil.iter_modules(policies.__path__) if info.ispkg]
    classes = {policy.__name__: policy for policy in map(_kind_in, folders)}
    return MappingProxyType(dict(sorted(classes.items())))


def example(kind: str) -> str:
    """The text of the kind's `example.yaml`; raises KeyError for an unknown kind."""
    folder = kinds()[kind].__name__.lower()
    return (Path(__file__).parent / folder / "example.yaml").read_text(encoding="utf-8")
