"""Grafana dashboards: up to date, valid by Grafana's types, and all their queries name existing metrics."""

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
from tests.deploy import compose_file, metric_names
from tests.envoy.harness import ROOT

Json = dict[str, Any]

BOARDS = queries.boards()
SOURCES = {"prometheus": "${datasource}", "jaeger": "${traces}"}
PROVISIONING = ROOT / "dashboards/provisioning"

_KEYWORDS = {"by", "on", "or", "and", "unless", "bool", "offset", "ignoring", "group_left", "without"}
_TYPES = (Path(__file__).parent / "dashboards.ts").read_text()
"""The type `Board` of a dashboard, and the types of panel options for each kind of panel."""


def panels() -> Iterator[tuple[str, Json]]:
    for uid, board in BOARDS.items():
        for panel in queries.panels(board):
            yield uid, panel


def expressions() -> Iterator[str]:
    """The PromQL of panels, annotations and variables, with variables filled in."""
    for _, _, expression in queries.expressions():
        yield queries.fill_variables(expression)
    for board in BOARDS.values():
        for annotation in board["annotations"]["list"]:
            yield queries.fill_variables(annotation["target"]["expr"])
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                match = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"])
                assert match, variable["query"]
                yield queries.fill_variables(match[1])


def metrics_in(expression: str) -> set[str]:
    """The names of the metrics in an expression."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\boffset\s+\w+", "", bare)
    return {
        name for name, call in re.findall(r"\b([a-zA-Z_:][\w:]*)\b(\s*\()?", bare) if not call
    } - _KEYWORDS


def test_files_are_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_titles_and_ids_are_unique() -> None:
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)
    for uid, board in BOARDS.items():
        assert board["uid"] == uid
        assert set(Counter(panel["id"] for panel in board["panels"]).values()) == {1}
        titles = Counter(panel["title"] for panel in board["panels"] if panel["type"] == "row")
        assert set(titles.values()) == {1}


def test_every_panel_has_title_description_unit_and_data_source() -> None:
    for uid, panel in panels():
        label = f"{uid}: {panel.get('title')}"
        assert panel["title"], uid
        assert len(panel["description"]) > 10, label
        assert panel["fieldConfig"]["defaults"]["unit"], label
        for element in (panel, *panel["targets"]):
            assert element["datasource"]["uid"] == SOURCES[element["datasource"]["type"]], label


def test_variables_are_defined_and_used() -> None:
    for uid, board in BOARDS.items():
        defined = {variable["name"] for variable in board["templating"]["list"]}
        used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(board)))
        assert used <= defined, (uid, used - defined)
        unused = defined - used - {"traces"}
        assert not unused, (uid, unused)


def test_panels_do_not_overlap() -> None:
    for uid, board in BOARDS.items():
        cells: Counter[tuple[int, int]] = Counter()
        for panel in board["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24, (uid, panel["title"])
            cells.update(
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            )
        assert set(cells.values()) == {1}, uid


def test_every_expression_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"test:{number}", "expr": expression} for number, expression in enumerate(expressions())
    ]
    assert len(rules) > 150
    path = tmp_path / "rules.yml"
    YAML().dump({"groups": [{"name": "test", "rules": rules}]}, path)
    argv = ["/usr/bin/promtool", "check", "rules", str(path)]
    completed = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_every_metric_exists() -> None:
    names = metric_names.metric_names()
    for expression in expressions():
        assert metrics_in(expression) <= names, (metrics_in(expression) - names, expression)


def test_missing_metric_is_detected() -> None:
    assert metrics_in('sum by (le) (rate(envoy_http_typo{a="b"}[1m])) or x:y offset 30s') == {
        "envoy_http_typo",
        "x:y",
    }
    assert not metric_names.is_included("cluster.orders.upstream_flow_control_drained_total")
    assert metric_names.prometheus_name("http.inbound.downstream_rq_5xx") == "envoy_http_downstream_rq_xx"


def test_links_lead_to_dashboards_and_set_their_variables() -> None:
    count = 0
    for uid, board in BOARDS.items():
        for target, query in re.findall(r'"/d/([\w-]+)\?([^"]*)"', json.dumps(board)):
            assert target in BOARDS, (uid, target)
            defined = {variable["name"] for variable in BOARDS[target]["templating"]["list"]}
            assert set(re.findall(r"var-(\w+)=", query)) <= defined, (uid, target, query)
            count += 1
        tags = [tag for link in board["links"] if link["type"] == "dashboards" for tag in link["tags"]]
        assert tags
        assert set(tags) <= set(board["tags"])
    assert count > 20


def test_provisioning_of_grafana_resolves() -> None:
    services = compose_file.read(ROOT / "docker-compose.yml")["services"]
    grafana = services["grafana"]
    mounted = {target: source for source, target, _ in compose_file.mounts(grafana, "grafana")}
    assert (ROOT / mounted["/etc/grafana/provisioning"]).resolve() == PROVISIONING
    folders = {path.parent.name: YAML(typ="safe").load(path) for path in PROVISIONING.glob("*/*.yaml")}
    assert set(folders) == {"datasources", "dashboards", "alerting"}
    (provider,) = folders["dashboards"]["providers"]
    dashboards = ROOT / mounted[provider["options"]["path"]]
    assert {path.stem for path in dashboards.rglob("*.json")} == set(BOARDS)
    sources = folders["datasources"]["datasources"]
    uids = {source["uid"] for source in sources}
    assert len(uids) == len(sources) == len({source["name"] for source in sources})
    networks = [service["networks"]["default"] for service in services.values() if "networks" in service]
    hosts = {*services, *(alias for network in networks for alias in network["aliases"])}
    for source in sources:
        host = source["url"].removeprefix("http://").partition(":")[0]
        assert host in hosts, source["url"]
        assert source["jsonData"].get("alertmanagerUid", source["uid"]) in uids
    assert {source["type"] for source in sources} >= set(SOURCES)
    secrets = re.findall(r"\$__file\{([^}]+)\}", (PROVISIONING / "datasources/mesh.yaml").read_text())
    assert secrets
    copies = compose_file.init_module().COPIES[mounted["/run/secrets"]]
    assert set(secrets) <= {f"/run/secrets/{name}" for name in copies}
    assert not folders["alerting"]["groups"]


def typescript(boards: dict[str, Json]) -> str:
    """A program that compiles only if the dashboards are valid."""
    parts = [_TYPES]
    for index, (uid, board) in enumerate(boards.items()):
        parts.append(f"// {uid}\nconst board{index}: Board = {json.dumps(board)};\nvoid board{index};")
        for number, panel in enumerate(queries.panels(board)):
            kind, name = panel["type"], f"board{index}_{number}"
            parts.append(f"const {name}: Options['{kind}'] = {json.dumps(panel.get('options', {}))};")
            parts.append(f"void {name};")
            custom = panel["fieldConfig"]["defaults"].get("custom")
            if custom is not None:
                parts.append(f"const {name}c: Custom['{kind}'] = {json.dumps(custom)};\nvoid {name}c;")
    return "\n".join(parts)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Grafana's types and the TypeScript compiler."""
    folder = tmp_path_factory.mktemp("node")
    packages = ("@grafana/schema@13.2.3", "typescript@5.9.3")
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--prefer-offline")
    argv = ["npm", "install", "--prefix", str(folder), *quiet, *packages]
    completed = subprocess.run(argv, capture_output=True, text=True, timeout=150, check=False, cwd=folder)
    assert completed.returncode == 0, completed.stderr
    return folder


def compile_program(node: Path, program: str) -> subprocess.CompletedProcess[str]:
    (node / "boards.ts").write_text(program)
    argv = ["node", "node_modules/typescript/bin/tsc", "--strict", "--noEmit", "--skipLibCheck"]
    argv += ["--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022", "boards.ts"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=node)


def test_grafana_types_accept_the_dashboards_and_reject_faults(node: Path) -> None:
    completed = compile_program(node, typescript(BOARDS))
    assert completed.returncode == 0, completed.stdout[:4000]
    faulty = {uid: json.loads(json.dumps(BOARDS[uid])) for uid in ("mesh-overview", "mesh-service")}
    faulty["mesh-overview"]["panels"][1]["gridPos"]["w"] = "four"
    faulty["mesh-overview"]["panels"][1]["options"]["graphMode"] = "aria"
    faulty["mesh-service"]["refesh"] = "10s"
    stdout = compile_program(node, typescript(faulty)).stdout
    for text in ("Type 'string' is not assignable to type 'number'", '"aria"', "refesh"):
        assert text in stdout, stdout[:4000]
