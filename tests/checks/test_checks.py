"""The house checks report each broken rule (`python -m checks` holds this tree to them)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from rich._emoji_codes import EMOJI
from rich.cells import cell_len

from checks import circles, class_names, purity, signs, sizes, words
from checks.source import Problem, SourceFile, read_tree

DOCUMENTED = '"""A module."""\n'


def source(path: str, code: str) -> SourceFile:
    return SourceFile(path, DOCUMENTED + code)


def messages(problems_found: Iterable[Problem]) -> list[str]:
    return [str(problem) for problem in problems_found]


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio\n",
        "from aiohttp import web\n",
        "import time\nNOW = time.monotonic()\n",
        "from time import sleep\n",
        "import os\nHOME = os.environ\n",
        "from datetime import datetime\nNOW = datetime.now()\n",
        "def late():\n    import socket\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import grpc\n",
    ],
)
def test_purity_io_in_a_pure_package_is_reported(code: str) -> None:
    assert messages(purity.check([source("control_plane/core/clusters.py", code)]))
    assert messages(purity.check([source("services/orders/domain.py", code)]))
    assert not messages(purity.check([source("control_plane/store/connection.py", code)]))


def test_purity_a_seeded_generator_is_allowed() -> None:
    assert not messages(purity.check([source("tui/graph/layout.py", "from random import Random\n")]))


def test_sizes_long_files_long_functions_and_missing_docstrings_are_reported() -> None:
    long_function = "def run():\n" + "    pass\n" * 50
    assert messages(sizes.check([source("cli/up.py", "X = 1\n" * 400)])) == [
        "cli/up.py:400: 401 lines: a file has at most 400"
    ]
    assert messages(sizes.check([source("cli/up.py", long_function)])) == [
        "cli/up.py:2: run has 51 lines: a function has at most 50"
    ]
    assert messages(sizes.check([SourceFile("cli/up.py", "X = 1\n")])) == [
        "cli/up.py:1: no docstring says what the module is for"
    ]


def test_class_names_two_meanings_are_reported() -> None:
    first, second = (
        source("tui/app.py", "class Route:\n    pass\n"),
        source("cli/up.py", "class Route:\n    pass\n"),
    )
    assert messages(class_names.check([first, second])) == [
        "cli/up.py:2: class Route is also defined in tui/app.py:2"
    ]


def test_class_names_one_idea_in_two_layers_is_allowed() -> None:
    domain = source("services/orders/domain.py", "class Order:\n    pass\n")
    wire = source(
        "services/orders/app.py",
        "from meshwright.services.orders import domain\nclass Order:\n    item: domain.Order\n",
    )
    assert not messages(class_names.check([domain, wire]))


@pytest.mark.parametrize(
    "code",
    [
        "told = 1\n",
        "def f(heard):\n    pass\n",
        "class A:\n    kept: int\n",
        "for one in ():\n    pass\n",
        "import json as found\n",
        "match 1:\n    case int() as known:\n        pass\n",
        "def _said():\n    pass\n",
    ],
)
def test_words_odd_identifiers_are_reported(code: str) -> None:
    assert len(messages(words.check([source("cli/up.py", code)]))) == 1


def test_words_drawers_are_reported_but_not_terms_of_envoy() -> None:
    assert messages(words.check([source("cli/utils.py", "")]))
    assert messages(words.check([source("cli/up.py", "class StateManager:\n    pass\n")]))
    assert not messages(words.check([source("control_plane/core/http_connection_manager.py", "")]))


def test_words_odd_phrases_in_code_and_text_are_reported() -> None:
    assert messages(words.check([source("cli/up.py", "# The file is read " + "anew.\n")]))
    assert messages(words.check_text("docs/a.md", "a hint\nwhat the mesh was " + "told\n")) == [
        "docs/a.md:2: 'was " + "told' is not idiomatic: say it in plain English"
    ]


def test_circles_a_circle_is_reported_in_order() -> None:
    imports = {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}
    (problem,) = circles.check(imports)
    assert problem.message.count("→") == 3
    assert not list(circles.check({"a": ["b"], "b": []}))


def test_read_tree_leaves_out_links_and_generated_files(tmp_path: Path) -> None:
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "up.py").write_text(DOCUMENTED)
    (tmp_path / "cli" / "mesh_pb2.py").write_text("")
    (tmp_path / "meshwright").mkdir()
    (tmp_path / "meshwright" / "cli").symlink_to("../cli")
    assert [file.path for file in read_tree(tmp_path)] == ["cli/up.py"]


def test_signs_that_a_font_may_lack_are_reported() -> None:
    assert messages(signs.check([source("tui/format.py", 'SIGN = "✖"\n')])) == [
        "tui/format.py:2: '✖' (HEAVY MULTIPLICATION X) is not in the fonts of every terminal"
    ]
    assert not messages(signs.check([source("tui/format.py", 'SIGNS = "●▲×○ ±µ… →▁█╭━┐"\n')]))


def test_signs_are_one_cell_wide_and_no_emoji() -> None:
    assert not [sign for sign in signs.SYMBOLS if cell_len(sign) != 1 or is_emoji(sign)]


def is_emoji(char: str) -> bool:
    """Whether Rich's table of emoji has it, alone or with the selector that makes it one."""
    return bool({char, f"{char}\N{VARIATION SELECTOR-16}"} & set(EMOJI.values()))
