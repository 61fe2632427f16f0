"""Envoy itself loads our bootstraps."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from meshwright.sidecar import bootstrap
from meshwright.sidecar.svid import bundle_secret, identity_secret
from tests.sidecar.conftest import ENVOY
from tests.sidecar.test_bootstrap import ORDERS, WITH_TELEMETRY
from tests.sidecar.test_svid import orders_svid

VARIANTS = {
    "service": ORDERS,
    "service without ports": replace(ORDERS, apps=(), inbound_port=0),
    "gateway": replace(ORDERS, apps=(), gateway_ports=(("http", 8080), ("admin", 8081))),
    "service in a zone": replace(ORDERS, zone="east"),
    "service with telemetry": WITH_TELEMETRY,
    "service with a span collector": replace(WITH_TELEMETRY, collector=("collector.example", 4317)),
    "control plane by host name": replace(ORDERS, xds=("control-plane.example", 15012)),
}


def write_bootstrap(config: bootstrap.Json, folder: Path) -> tuple[str, ...]:
    """Write a bootstrap and its secrets to `folder`; returns Envoy's command line."""
    svid = orders_svid(folder)
    (folder / "identity.json").write_text(identity_secret(svid))
    (folder / "bundle.json").write_text(bundle_secret(svid, "mesh.local"))
    (folder / "bootstrap.json").write_text(json.dumps(config))
    return bootstrap.envoy_command(str(ENVOY), "./bootstrap.json")


@pytest.mark.parametrize("name", VARIANTS)
def test_envoy_accepts_the_bootstrap_without_deprecations(name: str, tmp_path: Path) -> None:
    written = write_bootstrap(bootstrap.build_bootstrap(VARIANTS[name]), tmp_path)
    argv = (*(word.replace("misc:error", "misc:warning") for word in written), "--mode", "validate")
    process = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 0, process.stderr
    assert "deprecated" not in process.stderr.lower()


@pytest.mark.parametrize(
    ("regex", "rejected"), [("/a{200}", False), (r"\pL{1,1000}", False), ("(abcdefghijklmno){1000}", True)]
)
def test_large_regular_expressions_are_accepted_and_huge_ones_rejected(
    regex: str, rejected: bool, tmp_path: Path
) -> None:
    config = bootstrap.build_bootstrap(replace(ORDERS, ready_port=0, admin_socket="admin.sock"))
    (listener,) = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    route = {"match": {"safe_regex": {"regex": regex}}, "route": {"cluster": "/admin"}}
    manager["route_config"]["virtual_hosts"][0]["routes"].append(route)
    argv = [word.replace("warning", "info") for word in write_bootstrap(config, tmp_path)]
    with subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as envoy:
        assert envoy.stderr is not None
        # Envoy checks the size when it loads a configuration, not with `--mode validate`.
        outcome = next(
            line
            for line in envoy.stderr
            if "program size of" in line or "starting main dispatch loop" in line
        )
        envoy.kill()
    assert ("program size of" in outcome) is rejected, outcome
