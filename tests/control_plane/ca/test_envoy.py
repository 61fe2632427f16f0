"""Certificates of this CA between real Envoys: each side verifies the other's SPIFFE ID.

One Envoy is both sides: `front` takes plain requests and calls `back` over mTLS as `orders`.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.ca.authority import CertificateAuthority, open_authority
from meshwright.control_plane.config import Settings
from tests.control_plane.ca.keys import ORDERS, AnyKey, csr, key_pem, new_key, rsa_key

CATALOG = Identity("mesh.local", "service", "catalog")
TYPES = "type.googleapis.com/envoy.extensions"
TLS = f"{TYPES}.transport_sockets.tls.v3"
MANAGER = f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"

KEYS: dict[str, AnyKey] = {
    "p-256": new_key(),
    "p-384": ec.generate_private_key(ec.SECP384R1()),
    "rsa": rsa_key(2048),
}


def tls(
    kind: str,
    svid_of: tuple[CertificateAuthority, Identity, AnyKey],
    bundle: str,
    peers: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """A transport socket with an SVID. It trusts `bundle`, and only `peers` if any are named."""
    authority, identity, key = svid_of
    domain = {"name": "mesh.local", "trust_bundle": {"inline_string": bundle}}
    validator = {"@type": f"{TLS}.SPIFFECertValidatorConfig", "trust_domains": [domain]}
    certificate = authority.sign_csr(csr(key, [identity.uri]), identity).certificate
    validation = {
        "custom_validator_config": {"name": "envoy.tls.cert_validator.spiffe", "typed_config": validator},
        "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": uri}} for uri in peers],
    }
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [
            {
                "certificate_chain": {"inline_string": certificate},
                "private_key": {"inline_string": key_pem(key)},
            }
        ],
        "validation_context": validation,
    }
    config = {"@type": f"{TLS}.{kind}", "common_tls_context": common, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def listener(name: str, routes: list[dict[str, Any]], **chain: Any) -> dict[str, Any]:
    manager = {
        "@type": MANAGER,
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "http", "typed_config": manager}]
    return {
        "name": name,
        "address": {"pipe": {"path": f"./{name}.sock"}},
        "filter_chains": [{"filters": filters, **chain}],
    }


def cluster(name: str, socket: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": "./back.sock"}}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "transport_socket": socket,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def bootstrap(mesh: CertificateAuthority, stranger: CertificateAuthority, key: AnyKey) -> dict[str, Any]:
    """Each path of `front` leads to the cluster of its name; each cluster calls `back` differently."""
    up = "UpstreamTlsContext"
    orders = (mesh, ORDERS, key)
    clusters = [
        cluster("right", tls(up, orders, mesh.bundle, [CATALOG.uri])),
        cluster("pinned", tls(up, orders, mesh.bundle, [ORDERS.uri])),
        cluster("stranger", tls(up, (stranger, ORDERS, key), mesh.bundle, [CATALOG.uri])),
        cluster("wary", tls(up, orders, stranger.bundle, [CATALOG.uri])),
    ]
    routes = [
        {"match": {"path": f"/{upstream['name']}"}, "route": {"cluster": upstream["name"]}}
        for upstream in clusters
    ]
    caller = {"header": {"key": "x-caller", "value": "%DOWNSTREAM_PEER_URI_SAN%"}}
    response = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200},
        "response_headers_to_add": [caller],
    }
    callee = tls(
        "DownstreamTlsContext", (mesh, CATALOG, new_key()), mesh.bundle, require_client_certificate=True
    )
    listeners = [listener("front", routes), listener("back", [response], transport_socket=callee)]
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


@pytest.fixture(params=KEYS)
async def front(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A client session for `front` of a running Envoy, whose caller has a key of the parametrized kind."""
    spec = find_spec("envoy")
    assert spec is not None and spec.origin is not None
    binary = os.environ.get("MESH_ENVOY") or str(Path(spec.origin).parent / "_bin/envoy")
    mesh, stranger = (open_authority(Settings(tmp_path / name)) for name in ("mesh", "stranger"))
    with tempfile.TemporaryDirectory(prefix="mesh-") as folder:
        (Path(folder) / "envoy.json").write_text(json.dumps(bootstrap(mesh, stranger, KEYS[request.param])))
        log = tmp_path / "envoy.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                binary, "-c", "envoy.json", "--concurrency", "1", "--use-dynamic-base-id",
                "-l", "warning", cwd=folder, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            connector = aiohttp.UnixConnector(f"{folder}/front.sock")
            async with aiohttp.ClientSession("http://front", connector=connector) as session:
                await until_serving(session, process, log)
                yield session
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def until_serving(
    session: aiohttp.ClientSession, process: asyncio.subprocess.Process, log: Path
) -> None:
    async with asyncio.timeout(30):
        while True:
            assert process.returncode is None, await asyncio.to_thread(log.read_text)
            try:
                async with session.get("/"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


async def test_envoys_authenticate_each_other_with_certificates_of_this_ca(
    front: aiohttp.ClientSession,
) -> None:
    async with front.get("/right") as response:
        assert (response.status, response.headers["x-caller"]) == (200, ORDERS.uri)
    for path in ("/pinned", "/stranger", "/wary"):
        async with front.get(path) as response:
            assert (path, response.status) == (path, 503)
            assert "x-caller" not in response.headers
