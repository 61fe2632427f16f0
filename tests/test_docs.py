"""The documentation agrees with the code, as far as that can be checked without running a mesh."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from checks import reference
from meshwright.cli.file_kinds import FILE_KINDS
from meshwright.cli.main import COMMANDS
from meshwright.cli.settings import COMMAND_SETTINGS
from meshwright.control_plane.config import Settings
from meshwright.control_plane.policies.loader import load_files
from meshwright.control_plane.policies.registry import kinds

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
PRODUCT = ("cli", "control_plane", "sidecar", "services", "tui")
CODE = "\n".join(path.read_text(encoding="utf-8") for part in PRODUCT for path in (ROOT / part).rglob("*.py"))
SETTING = re.compile(r"\bMESH_[A-Z][A-Z_]*[A-Z]\b")
SETTINGS = {f"MESH_{setting.name.upper()}" for setting in fields(Settings)} | {
    setting.name for setting in COMMAND_SETTINGS
}


NAMED_FILES = {
    "users.htpasswd": "ann:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=",
    "keys.txt": "reports:0123456789abcdef0123456789abcdef",
}
"""Content of the files that policies on the pages name."""


def named_file(_document: str, name: str, _limit: int) -> str:
    return NAMED_FILES[name]


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_reference_page_equals_what_the_code_generates() -> None:
    assert text(reference.PAGE) == reference.page()


def test_reference_main_check_fails_on_a_stale_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "PAGE", tmp_path / "reference.md")
    reference.PAGE.write_text("stale")
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0


def test_reference_page_lists_every_command_kind_and_setting() -> None:
    page = reference.page()
    for name in (*(f"mesh {command}" for command in COMMANDS), *kinds(), *SETTINGS):
        assert f"| `{name}` |" in page


def test_settings_that_the_code_reads_are_described() -> None:
    assert set(SETTING.findall(CODE)) <= SETTINGS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_names_only_commands_that_exist(page: Path) -> None:
    named = re.findall(r"(?:`|^\$ )mesh ([a-z]+(?:-[a-z]+)*)", text(page), re.MULTILINE)
    assert set(named) <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_names_only_settings_that_exist(page: Path) -> None:
    assert set(SETTING.findall(text(page))) <= SETTINGS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_links_only_to_files_that_exist(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", text(page))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_links_only_to_headings_that_exist(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#:]*)#([a-z0-9-]+)\)", text(page)):
        target = text(page.parent / link if link else page)
        headings = re.findall(r"^#+ (.+)$", target, re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{link}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_has_only_valid_yaml(page: Path) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL):
        extra_kinds = FILE_KINDS if any(f"kind: {kind}" in block for kind in FILE_KINDS) else None
        loaded = load_files([(page.name, block.encode())], extra_kinds, read_file=named_file)
        assert loaded.problems == ()
        assert loaded.documents


def test_pages_are_a_site_without_broken_links(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "-q",
        "--strict",
        "-f",
        str(ROOT / "mkdocs.yml"),
        "-d",
        str(tmp_path),
    ]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first = (tmp_path / "index.html").read_text()
    assert 'href="operations/' in first
    assert 'src="images/topology.svg"' in first


def test_metrics_page_describes_every_metric() -> None:
    """Counters that a collector makes are read with `_total`, which their definition leaves out."""
    defined = set(re.findall(r'(?:Counter|Gauge|Histogram)\(\s*"(mesh_[a-z_]+)"', CODE))
    families = r'(?:GaugeMetricFamily\(|_gauge\(|\bname =)\s*"(mesh_[a-z_]+)"'
    defined |= set(re.findall(families, CODE))
    defined |= {f"{name}_total" for name in re.findall(r'CounterMetricFamily\(\s*"(mesh_[a-z_]+)"', CODE)}
    page = text(ROOT / "docs" / "metrics.md")
    described = set(re.findall(r"^\| `(mesh_[a-z_]+)` \|", page, re.MULTILINE))
    agents = next(line for line in page.splitlines() if line.startswith("| `/agent/metrics` |"))
    assert defined
    assert described | set(re.findall(r"`(mesh_[a-z_]+)`", agents)) == defined


def test_pages_name_only_targets_of_make_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text(page), re.MULTILINE)) <= targets
