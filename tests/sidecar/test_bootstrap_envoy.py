"""Envoy itself reads the bootstraps we write."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.ca.authority import open_authority
from meshwright.control_plane.config import Settings
from meshwright.sidecar import bootstrap
from meshwright.sidecar.control_plane_client import generate_key
from meshwright.sidecar.svid import Svid, assemble_svid, bundle_secret, create_csr, identity_secret
from tests.sidecar.conftest import ENVOY
from tests.sidecar.test_bootstrap import ORDERS, SEEN

NODES = {
    "service": ORDERS,
    "service without ports": replace(ORDERS, apps=(), inbound_port=0),
    "gateway": replace(ORDERS, apps=(), gateway_ports=(("http", 8080), ("admin", 8081))),
    "service in a zone": replace(ORDERS, zone="east"),
    "service that is seen": SEEN,
    "service whose spans go elsewhere": replace(SEEN, collector=("collector.example", 4317)),
    "control plane by name": replace(ORDERS, xds=("plane.example", 15012)),
}


def own_svid(folder: Path) -> Svid:
    identity = Identity("mesh.local", "service", "orders")
    authority = open_authority(Settings(folder / "plane"))
    key = generate_key()
    return assemble_svid(key, authority.sign_csr(create_csr(key, identity.uri), identity), identity.uri)


def written(config: bootstrap.Json, folder: Path) -> tuple[str, ...]:
    """Envoy's command line for a bootstrap that was written to `folder`."""
    one = own_svid(folder)
    (folder / "identity.json").write_text(identity_secret(one))
    (folder / "bundle.json").write_text(bundle_secret(one, "mesh.local"))
    (folder / "bootstrap.json").write_text(json.dumps(config))
    return bootstrap.envoy_command(str(ENVOY), "./bootstrap.json")


@pytest.mark.parametrize("name", NODES)
def test_envoy_accepts_it(name: str, tmp_path: Path) -> None:
    argv = (*written(bootstrap.build_bootstrap(NODES[name]), tmp_path), "--mode", "validate")
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


@pytest.mark.parametrize(
    ("regex", "refused"), [("/a{200}", False), (r"\pL{1,1000}", False), ("(abcdefghijklmno){1000}", True)]
)
def test_large_regular_expressions_are_taken_and_vast_ones_refused(
    regex: str, refused: bool, tmp_path: Path
) -> None:
    config = bootstrap.build_bootstrap(replace(ORDERS, ready_port=0, admin_socket="admin.sock"))
    (listener,) = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    route = {"match": {"safe_regex": {"regex": regex}}, "route": {"cluster": "/admin"}}
    manager["route_config"]["virtual_hosts"][0]["routes"].append(route)
    argv = [word.replace("warning", "info") for word in written(config, tmp_path)]
    with subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as envoy:
        assert envoy.stderr is not None
        # The size is looked at when a configuration is taken, not by `--mode validate`.
        said = next(
            line
            for line in envoy.stderr
            if "program size of" in line or "starting main dispatch loop" in line
        )
        envoy.kill()
    assert ("program size of" in said) is refused, said


def test_the_key_is_in_no_representation(tmp_path: Path) -> None:
    one = own_svid(tmp_path)
    assert "PRIVATE KEY" in one.key
    assert "PRIVATE KEY" not in repr(one)


def test_a_certificate_for_another_key_or_name_is_not_taken(tmp_path: Path) -> None:
    identity = Identity("mesh.local", "service", "orders")
    authority = open_authority(Settings(tmp_path / "plane"))
    key = generate_key()
    signed = authority.sign_csr(create_csr(key, identity.uri), identity)
    with pytest.raises(ValueError, match="another key"):
        assemble_svid(generate_key(), signed, identity.uri)
    with pytest.raises(ValueError, match=r"not for spiffe://mesh\.local/service/payments"):
        assemble_svid(key, signed, "spiffe://mesh.local/service/payments")
