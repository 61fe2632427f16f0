"""`mesh grafana|prometheus|systemd export`: files of the package, written without overwriting any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.cli.conftest import RunMesh

EXPECTED = {
    "grafana": {
        "dashboards/mesh-overview.json",
        "provisioning/alerting/mesh.yaml",
        "provisioning/dashboards/mesh.yaml",
        "provisioning/datasources/mesh.yaml",
    },
    "prometheus": {"prometheus.yml", "rules/alerts.yml", "rules/recording.yml"},
    "systemd": {
        "agent.env",
        "app.conf",
        "control-plane.env",
        "meshwright-agent@.service",
        "meshwright-control-plane.service",
    },
}


@pytest.mark.parametrize("name", EXPECTED)
async def test_export_writes_and_lists_all_files(run: RunMesh, tmp_path: Path, name: str) -> None:
    result = await run(name, "export", "out")
    assert (result.code, result.err) == (0, "")
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    written = {path for path in written if (tmp_path / "out" / path).is_file()}
    assert EXPECTED[name] <= written
    assert {Path(line).relative_to("out").as_posix() for line in result.out.splitlines()} == written
    assert all((tmp_path / "out" / path).stat().st_size for path in written)


async def test_exported_boards_and_rules_can_be_parsed(run: RunMesh, tmp_path: Path) -> None:
    await run("grafana", "export", ".")
    boards = list((tmp_path / "dashboards").glob("*.json"))
    assert boards
    assert all(json.loads(board.read_text())["title"] for board in boards)
    await run("prometheus", "export", ".")
    for path in (tmp_path / "prometheus.yml", *(tmp_path / "rules").iterdir()):
        assert YAML(typ="safe").load(path.read_text())


async def test_existing_files_are_overwritten_only_with_force(run: RunMesh, tmp_path: Path) -> None:
    rules = tmp_path / "out" / "rules" / "alerts.yml"
    rules.parent.mkdir(parents=True)
    rules.write_text("mine")
    refused = await run("prometheus", "export", "out")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "out/rules/alerts.yml: already exists: use --force to overwrite it\n"
    assert rules.read_text() == "mine"
    assert not (tmp_path / "out" / "prometheus.yml").exists(), "all or none"
    forced = await run("prometheus", "export", "out", "--force", "-o", "json")
    assert forced.code == 0
    assert "out/rules/alerts.yml" in json.loads(forced.out)["files"]
    assert rules.read_text() != "mine"


async def test_a_directory_that_cannot_be_created_is_reported(run: RunMesh, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    result = await run("systemd", "export", "out")
    assert (result.code, result.out) == (1, "")
    assert "cannot be written: " in result.err
