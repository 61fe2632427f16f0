"""Grafana's dashboards: as the builder makes them, asking for what there is, right by Grafana's own types."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from meshwright.dashboards import build, queries
from tests.deploy import composed, dashboards_known
from tests.envoy.harness import ROOT

Json = dict[str, Any]

BOARDS = queries.boards()
SOURCES = {"prometheus": "${datasource}", "jaeger": "${traces}"}
PROVISIONING = ROOT / "dashboards/provisioning"

_WORDS = {"by", "on", "or", "and", "unless", "bool", "offset", "ignoring", "group_left", "without"}
_SHAPES = (Path(__file__).parent / "dashboards.ts").read_text()
"""Each dashboard is a Board; what a Board leaves open of its panels is looked at by the panel's kind."""


def panels() -> Iterator[tuple[str, Json]]:
    for uid, board in BOARDS.items():
        for panel in queries.panels(board):
            yield uid, panel


def asked() -> Iterator[str]:
    """Every PromQL there is, without variables: of panels, annotations, and variables."""
    for _, _, expr in queries.expressions():
        yield queries.fill_variables(expr)
    for board in BOARDS.values():
        for item in board["annotations"]["list"]:
            yield queries.fill_variables(item["target"]["expr"])
        for item in board["templating"]["list"]:
            if item["type"] == "query":
                match = re.fullmatch(r"label_values\((.+), \w+\)", item["query"])
                assert match, item["query"]
                yield queries.fill_variables(match[1])


def named(expr: str) -> set[str]:
    """The metrics that an expression names."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expr)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\boffset\s+\w+", "", bare)
    return {name for name, call in re.findall(r"\b([a-zA-Z_:][\w:]*)\b(\s*\()?", bare) if not call} - _WORDS


def test_the_files_are_what_the_builder_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--check"]) == 0
    assert build.main([], tmp_path) == 0
    assert build.main(["--check"], tmp_path) == 0
    (tmp_path / "mesh-overview.json").write_text("{}")
    (tmp_path / "mesh-old.json").write_text("{}")
    assert build.main(["--check"], tmp_path) == 1
    err = capsys.readouterr().err
    assert "mesh-overview.json" in err
    assert "mesh-old.json" in err
    assert build.main([], tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{uid}.json" for uid in sorted(BOARDS)]


def test_dashboards_and_panels_are_told_apart() -> None:
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)
    for uid, board in BOARDS.items():
        assert board["uid"] == uid
        assert set(Counter(panel["id"] for panel in board["panels"]).values()) == {1}
        titles = Counter(panel["title"] for panel in board["panels"] if panel["type"] == "row")
        assert set(titles.values()) == {1}


def test_every_panel_says_what_it_shows() -> None:
    for uid, panel in panels():
        where = f"{uid}: {panel.get('title')}"
        assert panel["title"], uid
        assert len(panel["description"]) > 10, where
        assert panel["fieldConfig"]["defaults"]["unit"], where
        for item in (panel, *panel["targets"]):
            assert item["datasource"]["uid"] == SOURCES[item["datasource"]["type"]], where


def test_every_variable_that_is_used_is_there() -> None:
    for uid, board in BOARDS.items():
        there = {item["name"] for item in board["templating"]["list"]}
        text = json.dumps(board)
        used = set(re.findall(r"\$\{?([a-z]\w*)", text))
        assert used <= there, (uid, used - there)
        unused = there - used - {"traces"}
        assert not unused, (uid, unused)


def test_no_panel_lies_over_another() -> None:
    for uid, board in BOARDS.items():
        taken: Counter[tuple[int, int]] = Counter()
        for panel in board["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24, (uid, panel["title"])
            taken.update(
                (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
            )
        assert set(taken.values()) == {1}, uid


def test_every_expression_is_promql(tmp_path: Path) -> None:
    rules = [{"record": f"asked:{at}", "expr": expr} for at, expr in enumerate(asked())]
    assert len(rules) > 150
    path = tmp_path / "rules.yml"
    YAML().dump({"groups": [{"name": "asked", "rules": rules}]}, path)
    argv = ["/usr/bin/promtool", "check", "rules", str(path)]
    completed = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_every_metric_is_one_that_there_is() -> None:
    texts = dashboards_known.known()
    for expr in asked():
        assert named(expr) <= texts, (named(expr) - texts, expr)


def test_a_metric_that_is_not_kept_is_found_out() -> None:
    assert named('sum by (le) (rate(envoy_http_typo{a="b"}[1m])) or x:y offset 30s') == {
        "envoy_http_typo",
        "x:y",
    }
    assert not dashboards_known.kept("cluster.orders.upstream_flow_control_drained_total")
    assert dashboards_known.exported("http.inbound.downstream_rq_5xx") == "envoy_http_downstream_rq_xx"


def test_links_lead_to_dashboards_and_set_their_variables() -> None:
    number = 0
    for uid, board in BOARDS.items():
        for target, query in re.findall(r'"/d/([\w-]+)\?([^"]*)"', json.dumps(board)):
            assert target in BOARDS, (uid, target)
            there = {item["name"] for item in BOARDS[target]["templating"]["list"]}
            assert set(re.findall(r"var-(\w+)=", query)) <= there, (uid, target, query)
            number += 1
        tags = [tag for link in board["links"] if link["type"] == "dashboards" for tag in link["tags"]]
        assert tags
        assert set(tags) <= set(board["tags"])
    assert number > 20


def test_what_grafana_reads_at_its_start_resolves() -> None:
    compose = composed.read(ROOT / "docker-compose.yml", {"MESH_UID": "1", "MESH_GID": "1"})["services"]
    grafana = compose["grafana"]
    mounted = {target: source for source, target, _ in composed.mounts(grafana, "grafana")}
    assert (ROOT / mounted["/etc/grafana/provisioning"]).resolve() == PROVISIONING
    folders = {path.parent.name: YAML(typ="safe").load(path) for path in PROVISIONING.glob("*/*.yaml")}
    assert set(folders) == {"datasources", "dashboards", "alerting"}
    (provider,) = folders["dashboards"]["providers"]
    read = ROOT / mounted[provider["options"]["path"]]
    assert {path.stem for path in read.rglob("*.json")} == set(BOARDS)
    sources = folders["datasources"]["datasources"]
    uids = {current_source["uid"] for current_source in sources}
    assert len(uids) == len(sources) == len({current_source["name"] for current_source in sources})
    networks = [item["networks"]["default"] for item in compose.values() if "networks" in item]
    named = {*compose, *(alias for network in networks for alias in network["aliases"])}
    for current_source in sources:
        host = current_source["url"].removeprefix("http://").partition(":")[0]
        assert host in named, current_source["url"]
        assert current_source["jsonData"].get("alertmanagerUid", current_source["uid"]) in uids
    assert {current_source["type"] for current_source in sources} >= set(SOURCES)
    secrets = re.findall(r"\$__file\{([^}]+)\}", (PROVISIONING / "datasources/mesh.yaml").read_text())
    assert secrets
    assert set(secrets) <= set(mounted)
    assert not folders["alerting"]["groups"]


def typescript(boards: dict[str, Json]) -> str:
    """The dashboards as a program that compiles only when they are right."""
    parts = [_SHAPES]
    for at, (uid, board) in enumerate(boards.items()):
        parts.append(f"// {uid}\nconst board{at}: Board = {json.dumps(board)};\nvoid board{at};")
        for number, panel in enumerate(queries.panels(board)):
            kind, name = panel["type"], f"board{at}_{number}"
            parts.append(f"const {name}: Options['{kind}'] = {json.dumps(panel.get('options', {}))};")
            parts.append(f"void {name};")
            custom = panel["fieldConfig"]["defaults"].get("custom")
            if custom is not None:
                parts.append(f"const {name}c: Custom['{kind}'] = {json.dumps(custom)};\nvoid {name}c;")
    return "\n".join(parts)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Grafana's types and the compiler."""
    folder = tmp_path_factory.mktemp("node")
    packages = ("@grafana/schema@13.2.3", "typescript@5.9.3")
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--prefer-offline")
    argv = ["npm", "install", "--prefix", str(folder), *quiet, *packages]
    completed = subprocess.run(argv, capture_output=True, text=True, timeout=150, check=False, cwd=folder)
    assert completed.returncode == 0, completed.stderr
    return folder


def compiled(node: Path, program: str) -> subprocess.CompletedProcess[str]:
    (node / "boards.ts").write_text(program)
    argv = ["node", "node_modules/typescript/bin/tsc", "--strict", "--noEmit", "--skipLibCheck"]
    argv += ["--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022", "boards.ts"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=node)


def test_grafanas_own_types_accept_the_dashboards_and_no_fault(node: Path) -> None:
    completed = compiled(node, typescript(BOARDS))
    assert completed.returncode == 0, completed.stdout[:4000]
    faulty = {uid: json.loads(json.dumps(BOARDS[uid])) for uid in ("mesh-overview", "mesh-service")}
    faulty["mesh-overview"]["panels"][1]["gridPos"]["w"] = "four"
    faulty["mesh-overview"]["panels"][1]["options"]["graphMode"] = "aria"
    faulty["mesh-service"]["refesh"] = "10s"
    stdout = compiled(node, typescript(faulty)).stdout
    for text in ("Type 'string' is not assignable to type 'number'", '"aria"', "refesh"):
        assert text in stdout, stdout[:4000]
