"""No import circle, typed and late imports included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

import grimp

from checks.source import Problem


def check_package(package: str = "meshwright") -> Iterator[Problem]:
    """Circles among the modules of an installed package."""
    graph = grimp.build_graph(package, cache_dir=None)
    yield from check({module: graph.find_modules_directly_imported_by(module) for module in graph.modules})


def check(imports: Mapping[str, Iterable[str]]) -> Iterator[Problem]:
    """The first circle of `imports`: a module and the modules it imports."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        yield Problem(circle[0].replace(".", "/"), 1, f"import circle: {' → '.join(circle)}")
