"""Envoy itself reads the bootstraps we write."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from control_plane.api.spiffe import Identity
from control_plane.ca.app import open_authority
from control_plane.config import Settings
from sidecar import bootstrap
from sidecar.client import new_key
from sidecar.identity import Svid, bundle_file, identity_file, request, svid
from tests.sidecar.conftest import ENVOY
from tests.unit.sidecar.test_bootstrap import ORDERS, SEEN

NODES = {
    "service": ORDERS,
    "service without ports": replace(ORDERS, apps=(), inbound=0),
    "gateway": replace(ORDERS, apps=(), gateway=(("http", 8080), ("admin", 8081))),
    "service in a zone": replace(ORDERS, zone="east"),
    "service that is seen": SEEN,
    "service whose spans go elsewhere": replace(SEEN, collector=("collector.example", 4317)),
    "control plane by name": replace(ORDERS, xds=("plane.example", 15012)),
}


def own_svid(folder: Path) -> Svid:
    identity = Identity("mesh.local", "service", "orders")
    authority = open_authority(Settings(folder / "plane"))
    key = new_key()
    return svid(key, authority.sign(request(key, identity.uri), identity), identity.uri)


def written(config: bootstrap.Json, folder: Path) -> tuple[str, ...]:
    """Envoy's command line for a bootstrap that was written to `folder`."""
    one = own_svid(folder)
    (folder / "identity.json").write_text(identity_file(one))
    (folder / "bundle.json").write_text(bundle_file(one, "mesh.local"))
    (folder / "bootstrap.json").write_text(json.dumps(config))
    return bootstrap.command(str(ENVOY), "./bootstrap.json")


@pytest.mark.parametrize("name", NODES)
def test_envoy_accepts_it(name: str, tmp_path: Path) -> None:
    argv = (*written(bootstrap.bootstrap(NODES[name]), tmp_path), "--mode", "validate")
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


@pytest.mark.parametrize(
    ("regex", "refused"), [("/a{200}", False), (r"\pL{1,1000}", False), ("(abcdefghijklmno){1000}", True)]
)
def test_large_regular_expressions_are_taken_and_vast_ones_refused(
    regex: str, refused: bool, tmp_path: Path
) -> None:
    config = bootstrap.bootstrap(replace(ORDERS, ready=0, admin_socket="admin.sock"))
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
    key = new_key()
    signed = authority.sign(request(key, identity.uri), identity)
    with pytest.raises(ValueError, match="another key"):
        svid(new_key(), signed, identity.uri)
    with pytest.raises(ValueError, match=r"not for spiffe://mesh\.local/service/payments"):
        svid(key, signed, "spiffe://mesh.local/service/payments")
