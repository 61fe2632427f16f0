"""A real Envoy accepts the output of the codec: a resource of each main type, as JSON and as bytes."""

from __future__ import annotations

import json
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import trustme
from google.protobuf.message import Message

from meshwright.control_plane.envoy import codec, v3
from tests.control_plane.envoy import samples

BINARY = Path(str(files("envoy"))) / "_bin" / "envoy"


def validate(name: str, bootstrap: bytes, folder: Path) -> tuple[int, str]:
    """Exit status and log of `envoy --mode validate` with this bootstrap file, run in `folder`."""
    (folder / name).write_bytes(bootstrap)
    done = subprocess.run(
        [str(BINARY), "--mode", "validate", "--concurrency", "1", "-c", name],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def write_identity(folder: Path) -> None:
    """The SDS file of a sidecar: certificate, key, and the bundle of the SPIFFE validator."""
    authority = trustme.CA()
    issued = authority.issue_cert("orders.mesh")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems).decode()
    trust = authority.cert_pem.bytes().decode()
    identity = v3.Secret(
        name="identity",
        tls_certificate=v3.TlsCertificate(
            certificate_chain=v3.DataSource(inline_string=chain),
            private_key=v3.DataSource(inline_string=issued.private_key_pem.bytes().decode()),
        ),
    )
    secrets: list[Message] = [identity, samples.bundle(trust)]
    resources = [codec.to_dict(codec.pack(secret)) for secret in secrets]
    (folder / "identity.json").write_text(json.dumps({"resources": resources}))


def bootstrap(listeners: list[Message], clusters: list[Message]) -> dict[str, Any]:
    """A bootstrap with an ADS cluster and static resources."""
    xds = v3.Cluster(
        name="xds",
        type=v3.Cluster.STATIC,
        load_assignment=v3.ClusterLoadAssignment(cluster_name="xds"),
        typed_extension_protocol_options=samples.cluster().typed_extension_protocol_options,
    )
    return {
        "node": {"id": "orders-1", "cluster": "orders"},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
            }
        },
        "static_resources": {
            "listeners": [codec.to_dict(listener) for listener in listeners],
            "clusters": [codec.to_dict(cluster) for cluster in (xds, *clusters)],
        },
    }


def bootstrap_of_all_types(listener: v3.Listener) -> dict[str, Any]:
    subset = samples.cluster()
    subset.name = "orders/v2"
    static = v3.Cluster(name="static", type=v3.Cluster.STATIC, load_assignment=samples.endpoints())
    return bootstrap([listener], [samples.cluster(), subset, static])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_identity(tmp_path)
    return tmp_path


def test_envoy_accepts_the_dictionary_form(folder: Path) -> None:
    status, log = validate(
        "bootstrap.json", json.dumps(bootstrap_of_all_types(samples.listener())).encode(), folder
    )
    assert status == 0, log
    assert "deprecated" not in log.lower(), log


def test_envoy_accepts_the_bytes(folder: Path) -> None:
    """Envoy decodes a `.pb` bootstrap with its protobuf decoder."""
    message = codec.decode("envoy.config.bootstrap.v3.Bootstrap", b"")
    wire = codec.encode(codec.from_dict(type(message), bootstrap_of_all_types(samples.listener())))
    status, log = validate("bootstrap.pb", wire, folder)
    assert status == 0, log


def test_envoy_rejects_an_invalid_resource(folder: Path) -> None:
    """Validation covers nested messages: the same bootstrap with an invalid regex is rejected."""
    broken = samples.listener()
    manager = samples.connection_manager()
    manager.route_config.virtual_hosts[0].routes[1].match.safe_regex.regex = "("
    broken.filter_chains[0].filters[0].typed_config.CopyFrom(codec.pack(manager))
    status, log = validate("bootstrap.json", json.dumps(bootstrap_of_all_types(broken)).encode(), folder)
    assert status == 1
    assert "missing )" in log
