"""The application file: what it says about health, time to connect and worker threads reaches the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwright.cli.application import instances, read_application, workloads
from meshwright.cli.up import unused_file_note
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.config import Workload
from meshwright.sidecar.health_settings import HealthSettings
from tests.cli.conftest import RunMesh
from tests.cli.samples import retry

FILE = """
apiVersion: meshwright.io/v1
kind: Application
metadata: {{name: shop}}
spec:
  gateways: [{{name: ingress{gateway}}}]
  services: [{{name: orders, command: [orders]{service}}}]
"""


def workload(folder: Path, service: str = "", gateway: str = "") -> dict[str, Workload]:
    """The agent's workloads by name."""
    path = folder / "mesh.yaml"
    path.write_text(FILE.format(service=service, gateway=gateway))
    spec = read_application(path).spec
    return {item.name: item for item in workloads(spec, instances(spec), folder, folder, {})}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", HealthSettings()),
        (", health: /up", HealthSettings(path="/up")),
        (", health: {path: /up, interval: 1m}", HealthSettings(path="/up", interval=60)),
        (
            ", health: {timeout: 500ms, unhealthyAfter: 5, healthyAfter: 1, startup: 5m}",
            HealthSettings(timeout=0.5, unhealthy_after=5, healthy_after=1, startup=300),
        ),
    ],
)
def test_health_is_a_path_or_settings(tmp_path: Path, text: str, expected: HealthSettings) -> None:
    assert workload(tmp_path, text)["orders-1"].health == expected


def test_connect_timeout_and_concurrency_are_settings(tmp_path: Path) -> None:
    defaults = workload(tmp_path)
    assert (defaults["orders-1"].connect_timeout, defaults["orders-1"].worker_threads) == (120, 1)
    assert defaults["ingress"].worker_threads == 0
    changed = workload(tmp_path, ", connectTimeout: 3s, concurrency: 2", ", concurrency: 4")
    assert (changed["orders-1"].connect_timeout, changed["orders-1"].worker_threads) == (3, 2)
    assert changed["ingress"].worker_threads == 4


@pytest.mark.parametrize(
    "text",
    [
        "{interval: 1ms}",
        "{timeout: 5}",
        "{unhealthyAfter: 0}",
        "{healthyAfter: many}",
        "{startup: 25h}",
        "{path: up}",
        "{retries: 3}",
        "up",
        "[/up]",
    ],
)
def test_wrong_health_settings_are_refused_with_their_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"mesh\.yaml:7:\d+: .*health"):
        workload(tmp_path, f", health: {text}")


def test_a_service_and_a_gateway_cannot_share_a_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a service and a gateway are both named ingress: rename one"):
        workload(tmp_path, "}, {name: ingress, command: [orders]")


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ((), ""),
        (("shop.yaml",), ""),
        (("mesh.yml", "mesh.yaml"), "mesh.yaml here is not used: start it with `mesh up -f mesh.yaml`"),
        (("application.yaml",), "application.yaml here is not used: start it with"),
    ],
)
def test_demo_beside_an_application_file_says_that_it_is_not_used(
    tmp_path: Path, files: tuple[str, ...], note: str
) -> None:
    for name in files:
        (tmp_path / name).touch()
    text = unused_file_note(tmp_path)
    assert note in text
    assert bool(text) is bool(note)


async def test_validate_checks_application_files_beside_policies(run: RunMesh, tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(FILE.format(service=", replicas: 2", gateway=""))
    (tmp_path / "retry.yaml").write_text(retry())
    assert (await run("validate", "mesh.yaml", "retry.yaml")).out == "2 documents valid\n"
    (tmp_path / "mesh.yaml").write_text(FILE.format(service=", replicas: two", gateway=""))
    mistake = await run("validate", "mesh.yaml")
    assert (mistake.code, mistake.out) == (2, "")
    assert mistake.err.startswith("mesh.yaml:7:58: spec.services[0].replicas: expected a whole number")
