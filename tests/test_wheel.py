"""The wheel, as a stranger installs it: in an empty environment, in another folder, a whole mesh runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from ruamel.yaml import YAML

from tests.envoy.harness import ROOT, settings
from tests.fakes.ports import free_port


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree; built from a copy, so that the tree stays as it is."""
    copy = tmp_path_factory.mktemp("source") / "tree"
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(".git", ".venv", ".mesh", "__pycache__", ".*_cache", "tests"),
    )
    out = tmp_path_factory.mktemp("wheel")
    builder = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(copy)]
    done = subprocess.run(builder, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has the wheel and what it depends on, and nothing of the tree."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    quick = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    make = (
        [quick, "venv", "-q", "-p", sys.executable, str(folder)]
        if quick
        else [sys.executable, "-m", "venv", str(folder)]
    )
    install = (
        [quick, "pip", "install", "-q", "-p", str(folder / "bin" / "python"), str(wheel)]
        if quick
        else [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", str(wheel)]
    )
    for command in (make, install):
        done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_holds_what_runs_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for wanted in ("v3.pyi", "py.typed"):
        assert not list(ROOT.glob(f"control_plane/**/{wanted}")) or any(n.endswith(wanted) for n in names)
    data = [
        path.relative_to(ROOT).as_posix()
        for package in ("cli", "control_plane", "sidecar", "services", "tui")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix in (".bin", ".yaml", ".pyi", ".xz", ".zst", ".gz", ".json")
    ]
    assert "services/application.yaml" in data and any("descriptors" in name for name in data)
    assert not set(data) - names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "docs/"))]


@pytest.fixture
def away(installed: Path, tmp_path: Path) -> Iterator[tuple[dict[str, str], int, Path]]:
    """The exchange on a port of our own, started by the installed `mesh` in a folder without the tree."""
    (services,) = installed.glob("lib/python*/site-packages/services")
    port, yaml = free_port(), YAML(typ="safe")
    content = yaml.load((services / "application.yaml").read_text())
    content["spec"]["gateways"][0]["port"] = port
    shutil.copytree(services / "policies", tmp_path / "policies")
    with (tmp_path / "application.yaml").open("w") as out:
        yaml.dump(content, out)
    env = {key: one for key, one in settings(tmp_path / "state").items() if not key.startswith("PYTHON")}
    yield env, port, tmp_path
    subprocess.run([installed / "bin" / "mesh", "down"], env=env, cwd=tmp_path, timeout=120, check=False)


def test_the_installed_mesh_runs_the_exchange(
    installed: Path, away: tuple[dict[str, str], int, Path]
) -> None:
    env, port, folder = away
    up = [str(installed / "bin" / "mesh"), "up", "-f", "application.yaml", "--detach", "--timeout", "120"]
    done = subprocess.run(up, env=env, cwd=folder, capture_output=True, text=True, timeout=160, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = requests.get(f"http://127.0.0.1:{port}/api/catalog/products", timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()
