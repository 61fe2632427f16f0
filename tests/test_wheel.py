"""The wheel as a user installs it: one package that runs a complete mesh in an empty environment."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from ruamel.yaml import YAML

from tests.envoy.harness import ROOT, settings
from tests.fakes.ports import free_port

FOLDERS = (
    *("cli", "control_plane", "dashboards", "services", "sidecar", "tui"),
    *("deploy/prometheus", "deploy/systemd"),
)
"""Folders whose data is in the wheel. Of deploy/, only what `mesh ... export` writes."""

DATA_SUFFIXES = frozenset(
    {
        *(".bin", ".conf", ".css", ".env", ".gz", ".html", ".js", ".json", ".proto", ".pyi", ".service"),
        *(".xz", ".yaml", ".yml", ".zst"),
    }
)

USER_FILE = "raise SystemExit('a file of the user was imported: ' + __name__)\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist of a copy of the tree."""
    copy = tmp_path_factory.mktemp("source") / "tree"
    ignored = shutil.ignore_patterns(".git", ".venv", ".mesh", "__pycache__", ".*_cache", "tests")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
    out = tmp_path_factory.mktemp("wheel")
    run_checked(sys.executable, "-m", "build", "--outdir", str(out), str(copy))
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and its dependencies only."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    python = str(folder / "bin" / "python")
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        run_checked(uv, "venv", "-q", "-p", sys.executable, str(folder))
        run_checked(uv, "pip", "install", "-q", "-p", python, str(wheel))
    else:
        run_checked(sys.executable, "-m", "venv", str(folder))
        run_checked(python, "-m", "pip", "install", "-q", str(wheel))
    return folder


def run_checked(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_has_one_top_level_package(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"meshwright"}
    assert len(tops) == 2


def test_the_wheel_has_all_data_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    data = [
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in DATA_SUFFIXES and "tests" not in path.relative_to(ROOT).parts
    ]
    assert "services/application.yaml" in data
    assert any("descriptors" in name for name in data)
    assert {f"meshwright/{name}" for name in data} <= names
    assert {"meshwright/py.typed", "meshwright/__init__.pyi"} <= names
    assert not [name for name in names if "/tests/fakes" in name or "/bench/" in name]


def test_the_wheel_and_the_sdist_can_be_published(wheel: Path) -> None:
    """The README stands alone on a package index: each of its links leads somewhere from there."""
    files = [str(path) for path in wheel.parent.iterdir()]
    assert len(files) == 2
    run_checked(sys.executable, "-m", "twine", "check", "--strict", *files)
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    assert metadata.count("\nProject-URL: ") == 4
    links = re.findall(r"\]\(([^)]*)\)", metadata)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []


@dataclass(frozen=True)
class InstalledMesh:
    """The installed `mesh` in a folder of a user, with the demo on a free port."""

    script: Path
    folder: Path
    environment: dict[str, str]
    port: int

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.script, *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=160,
            check=False,
        )


@pytest.fixture
def mesh(installed: Path, tmp_path: Path) -> Iterator[InstalledMesh]:
    (services,) = installed.glob("lib/python*/site-packages/meshwright/services")
    port, yaml = free_port(), YAML(typ="safe")
    content = yaml.load((services / "application.yaml").read_text())
    content["spec"]["gateways"][0]["port"] = port
    shutil.copytree(services / "policies", tmp_path / "policies")
    with (tmp_path / "application.yaml").open("w") as out:
        yaml.dump(content, out)
    for name in (
        "cli.py",
        "tui.py",
        "sidecar/__init__.py",
        "services/__init__.py",
        "control_plane/__init__.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(USER_FILE)
    environment = {
        name: value for name, value in settings(tmp_path / "state").items() if not name.startswith("PYTHON")
    }
    result = InstalledMesh(installed / "bin" / "mesh", tmp_path, environment, port)
    yield result
    result.run("down")


def test_the_installed_mesh_runs_the_demo_among_files_of_the_user(mesh: InstalledMesh) -> None:
    started = mesh.run("up", "-f", "application.yaml", "--detach", "--timeout", "120")
    assert started.returncode == 0, started.stdout + started.stderr
    response = requests.get(f"http://127.0.0.1:{mesh.port}/api/catalog/products", timeout=30)
    assert response.status_code == 200, response.text
    assert response.json()


@pytest.mark.parametrize("name", ["grafana", "prometheus", "systemd"])
def test_the_installed_mesh_exports_its_files(mesh: InstalledMesh, name: str) -> None:
    exported = mesh.run(name, "export", "out", "-o", "json")
    assert exported.returncode == 0, exported.stderr
    files = json.loads(exported.stdout)["files"]
    assert files
    assert all((mesh.folder / file).stat().st_size for file in files)
