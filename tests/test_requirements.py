"""The requirements with hashes: complete, as pinned, and enforced."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.envoy.harness import ROOT

FOLDER = ROOT / "requirements"
ENTRY = re.compile(
    r"(?m)^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?P<marker>[^\n\\]*)(?P<hashes>(?:\\\n[^\n]+)*)"
)
EXTRAS = {
    "mesh": ("jaeger", "postgres", "web"),
    "test": ("jaeger", "postgres", "schema", "web", "test"),
    "build": (),
}


def canonical(name: str) -> str:
    """A project's name in its normalised form (PyPA's name normalization)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(file: str) -> dict[str, tuple[str, str]]:
    """Version and hashes by name."""
    text = (FOLDER / f"{file}.txt").read_text()
    return {canonical(entry["name"]): (entry["version"], entry["hashes"]) for entry in ENTRY.finditer(text)}


@pytest.mark.parametrize("file", EXTRAS)
def test_every_package_has_hashes_and_nothing_else_is_installed(file: str) -> None:
    lines = (FOLDER / f"{file}.txt").read_text().splitlines()
    packages = entries(file)
    assert len(packages) == sum(not line.startswith(" ") for line in lines if line)
    for name, (_, hashes) in packages.items():
        digests = re.findall(r"--hash=sha256:([0-9a-f]{64})\b", hashes)
        assert digests, name
        assert len(digests) == hashes.count("--hash="), name


@pytest.mark.parametrize("file", ["mesh", "test"])
def test_every_dependency_of_the_project_is_there(file: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dependencies = list(project["dependencies"])
    for extra in EXTRAS[file]:
        dependencies += project["optional-dependencies"][extra]
    names = {canonical(re.split(r"[^A-Za-z0-9._-]", text)[0]) for text in dependencies} - {"meshwright"}
    assert names - entries(file).keys() == set()


@pytest.mark.parametrize("file", EXTRAS)
def test_versions_are_those_of_the_constraints(file: str) -> None:
    pins = dict(
        line.split("==", 1) for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    pinned = {canonical(name): version for name, version in pins.items()}
    versions = {name: version for name, (version, _) in entries(file).items()}
    assert {name: version for name, version in versions.items() if pinned.get(name, version) != version} == {}


def test_a_package_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    version, hashes = entries("build")["editables"]
    file = tmp_path / "requirements.txt"
    wrong = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", hashes)
    for text, installed in ((hashes, True), (wrong, False)):
        file.write_text(f"editables=={version} {text}\n")
        target = tmp_path / str(installed)
        command = [sys.executable, "-m", "uv", "pip", "install", "-q", "--no-deps", "--require-hashes"]
        done = subprocess.run(
            [*command, "--target", str(target), "-r", str(file)], capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) is installed, done.stderr
        assert any(target.glob("editables*")) is installed
    assert "hash mismatch" in done.stderr.lower()
