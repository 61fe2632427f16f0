"""What the documentation says is so, as far as that can be checked without running a mesh."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meshwright.cli.application import Application
from meshwright.cli.errors import INTERRUPTED
from meshwright.cli.main import COMMANDS
from meshwright.control_plane.api import errors
from meshwright.control_plane.config import Settings
from meshwright.control_plane.policies.loader import load
from meshwright.control_plane.policies.registry import kinds

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
PRODUCT = ("cli", "control_plane", "sidecar", "services", "tui")
CODE = "\n".join(path.read_text(encoding="utf-8") for part in PRODUCT for path in (ROOT / part).rglob("*.py"))
SETTING = re.compile(r"\bMESH_[A-Z][A-Z_]*[A-Z]\b")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def rows(heading: str) -> list[str]:
    """The first cell of each row below a heading of the README, without its code marks."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return [cell.strip().strip("`") for cell in cells]


def test_every_verb_has_a_row_and_every_row_a_verb() -> None:
    listed = {cell.removeprefix("mesh ").split()[0] for cell in rows("Commands") if cell.startswith("mesh ")}
    assert listed == set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_verb_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"(?:`|^\$ )mesh ([a-z]+)", text(page), re.MULTILINE)
    assert set(named) <= set(COMMANDS)


def test_every_kind_has_a_row_and_every_row_a_kind() -> None:
    assert {cell for cell in rows("Policies") if cell != "kind"} == set(kinds())


def test_every_setting_has_a_row_and_every_row_a_setting() -> None:
    fields = {f"MESH_{name.upper()}" for name in Settings.__slots__}
    assert {cell for cell in rows("Settings") if SETTING.fullmatch(cell)} == fields | set(
        SETTING.findall(CODE)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_is_named_has_a_row(page: Path) -> None:
    assert set(SETTING.findall(text(page))) <= set(rows("Settings"))


def test_a_setting_of_the_control_plane_has_the_default_that_is_told() -> None:
    told = dict(re.findall(r"^\| `(MESH_[A-Z_]+)` \|\s*`?([^|`]*?)`?\s*\|", README, re.MULTILINE))
    defaults = Settings(Path("./.mesh"))
    for name in Settings.__slots__:
        value = getattr(defaults, name)
        wanted = f"{value:g}" if isinstance(value, float) else str(value)
        assert told[f"MESH_{name.upper()}"] == ("./.mesh" if name == "state" else wanted), name


def test_the_exit_codes_are_those_of_the_command() -> None:
    codes = {
        0,
        errors.FAILED,
        errors.BAD_INPUT,
        errors.UNREACHABLE,
        errors.TIMED_OUT,
        errors.REJECTED,
        errors.CONFLICT,
        INTERRUPTED,
    }
    table = dict(re.findall(r"^\| (\d+) \| ([^|]+) \|", README, re.MULTILINE))
    assert {int(code) for code in table if int(code) < 1000} == codes
    words = {
        errors.UNREACHABLE: "unreachable",
        errors.TIMED_OUT: "timed out",
        errors.BAD_INPUT: "bad input",
    }
    words |= {errors.REJECTED: "rejected by Envoy", errors.CONFLICT: "revision conflict"}
    for code, word in words.items():
        assert word in table[str(code)], code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_linked_file_exists(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", text(page))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_yaml_block_is_valid(page: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL):
        known = {"Application": Application} if "kind: Application" in block else None
        loaded = load(block.encode(), page.name, known)
        assert loaded.problems == ()
        assert loaded.documents


def test_every_metric_is_described() -> None:
    """Counters that a collector makes are named without the `_total` that they are read with."""
    made = set(re.findall(r'(?:Counter|Gauge|Histogram)\(\s*"(mesh_[a-z_]+)"', CODE))
    families = r'(?:GaugeMetricFamily\(|_one\(|\bname =)\s*"(mesh_[a-z_]+)"'
    made |= set(re.findall(families, CODE))
    made |= {f"{name}_total" for name in re.findall(r'CounterMetricFamily\(\s*"(mesh_[a-z_]+)"', CODE)}
    page = text(ROOT / "docs" / "operations.md")
    told = set(re.findall(r"^\| `(mesh_[a-z_]+)` \|", page, re.MULTILINE))
    agents = next(line for line in page.splitlines() if line.startswith("| `/agent/metrics` |"))
    assert made
    assert told | set(re.findall(r"`(mesh_[a-z_]+)`", agents)) == made


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text(page), re.MULTILINE)) <= targets
