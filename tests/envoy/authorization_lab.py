"""One real Envoy whose routes and TCP ports each have the rules of one case."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.envoy_binary import envoy_binary
from meshwright.control_plane.policies.authorization.envoy import ALLOW, DENY, AuthorizationHooks
from meshwright.control_plane.policies.authorization.verdict import Call
from meshwright.control_plane.policies.jwtauthentication.envoy import NAME as JWT
from meshwright.control_plane.policies.jwtauthentication.envoy import TOKENS_KEY
from tests.envoy.authorization_cases import CALLERS, ISSUERS, Case
from tests.envoy.harness import until
from tests.fakes import jwt_keys
from tests.fakes.pki import Pki, key_pem
from tests.fakes.ports import free_port

KEY = jwt_keys.key("ES256")
TOKEN_HEADERS = {ISSUERS[0]: "x-token-a", ISSUERS[1]: "x-token-b"}
_TYPE = "type.googleapis.com/envoy"
_AUDIT = "|".join(
    f"%DYNAMIC_METADATA(envoy.filters.http.rbac:audit_{name})%"
    for name in ("deny_shadow_engine_result", "deny_shadow_effective_policy_id", "allow_shadow_engine_result")
)


@dataclass
class Lab:
    """The addresses of the Envoy, and a TLS context for each caller."""

    http: int
    tcp: int
    contexts: dict[Identity | None, ssl.SSLContext]
    connections: dict[tuple[Identity | None, str], Any] = field(default_factory=dict)

    def request(self, case: int, call: Call) -> tuple[bool, str, tuple[str, bool]]:
        """Whether a request was let through, why not, and what rules on trial said.

        The last is the deny rule that matched, and whether no allow rule did.
        """
        place = (call.caller, call.address)
        if place not in self.connections:
            self.connections[place] = self._connect(call, self.http, "").makefile("rwb")
        stream = self.connections[place]
        headers = [*call.headers, ("host", call.host), ("x-case", str(case))]
        for token in call.tokens:
            signed = jwt_keys.token(KEY, "ES256", jwt_keys.claims(aud=None, **token), "k")
            headers.append((TOKEN_HEADERS[token["iss"]], signed))
        lines = [f"{call.method} {call.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        stream.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        stream.flush()
        status = int(stream.readline().split()[1])
        lines = [line.decode().strip() for line in iter(stream.readline, b"\r\n")]
        answer = dict(line.split(": ", 1) for line in lines)
        body = stream.read(int(answer["content-length"])).decode()
        assert status in (200, 403), (call, status, body)
        denied, rule, allowed = answer.get("x-audit", "||").split("|")
        audit = (rule if denied == "denied" else "", allowed == "denied")
        return status == 200, body, audit

    def connects(self, case: int, call: Call) -> bool:
        """Whether a connection was let through: the server behind it responds."""
        with self._connect(call, self.tcp, f"c{case}.test") as connection:
            try:
                connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                return connection.recv(12) == b"HTTP/1.1 200"
            except (ConnectionError, ssl.SSLError):
                return False

    def _connect(self, call: Call, port: int, name: str) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", port), 60, source_address=(call.address, 0))
        # Else the first bytes wait 40 ms for Envoy to acknowledge the end of the handshake.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.contexts[call.caller].wrap_socket(raw, server_hostname=name or None)


@contextmanager
def running(folder: Path, http_cases: Sequence[Case], tcp_cases: Sequence[Case]) -> Iterator[Lab]:
    """An Envoy with a route for each HTTP case and a filter chain for each TCP case."""
    contexts = _certificates(folder)
    http, tcp, back = free_port(), free_port(), free_port()
    chains = [_connection_chain(folder, index, case, back) for index, case in enumerate(tcp_cases)]
    listeners = [
        _listener("http", http, [_http_chain(folder, http_cases)]),
        _listener("back", back, [_answer()]),
    ]
    if chains:
        inspector = {
            "name": "tls",
            "typed_config": {"@type": f"{_TYPE}.extensions.filters.listener.tls_inspector.v3.TlsInspector"},
        }
        listeners.append({**_listener("tcp", tcp, chains), "listener_filters": [inspector]})
    clusters = [_cluster(cluster_names.app_cluster("http"), back)]
    file = folder / "envoy.json"
    file.write_text(json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}}))
    command = [
        str(envoy_binary()),
        "-c",
        str(file),
        "--concurrency",
        "1",
        "--use-dynamic-base-id",
        "-l",
        "error",
    ]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ})
    try:
        until(lambda: _listens(http) or process.poll() is not None, "Envoy listens", 150)
        assert process.poll() is None, (folder / "envoy.log").read_text()[-2000:]
        lab = Lab(http, tcp, contexts)
        yield lab
        for stream in lab.connections.values():
            stream.close()
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _certificates(folder: Path) -> dict[Identity | None, ssl.SSLContext]:
    """Write the server's certificate and the root; returns a context for each caller."""
    pki = Pki()
    (folder / "root.pem").write_bytes(pki.roots)
    contexts: dict[Identity | None, ssl.SSLContext] = {}
    for caller in (*CALLERS, Identity("mesh.local", "service", "back")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if caller is not None:
            signed, key = pki.svid(caller.name, caller.role)
            files = [folder / f"{caller.role}-{caller.name}.{end}" for end in ("crt", "key")]
            files[0].write_text(signed.certificate)
            files[1].write_bytes(key_pem(key))
            context.load_cert_chain(files[0], files[1])
        contexts[caller] = context
    return contexts


def _listener(name: str, port: int, chains: list[dict[str, Any]]) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": name, "address": address, "filter_chains": chains}


def _cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


def _tls(folder: Path) -> dict[str, Any]:
    files = {
        "certificate_chain": {"filename": str(folder / "service-back.crt")},
        "private_key": {"filename": str(folder / "service-back.key")},
    }
    common = {
        "tls_certificates": [files],
        "validation_context": {"trusted_ca": {"filename": str(folder / "root.pem")}},
    }
    config = {
        "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": common,
    }
    return {"name": "tls", "typed_config": config}


def _manager(manager: v3.HttpConnectionManager) -> dict[str, Any]:
    return codec.to_dict(v3.Filter(name="http", typed_config=codec.pack(manager)))


def _answer() -> dict[str, Any]:
    """The application: 200 to everything."""
    route = v3.Route(match=v3.RouteMatch(prefix="/"))
    route.direct_response.status = 200
    return {"filters": [_manager(_http([route], []))]}


def _http(routes: Sequence[v3.Route], filters: Sequence[v3.HttpFilter]) -> v3.HttpConnectionManager:
    router = v3.HttpFilter(name="router", typed_config=codec.pack(v3.Router()))
    host = v3.VirtualHost(name="back", domains=["*"], routes=routes)
    manager = v3.HttpConnectionManager(
        stat_prefix="http",
        route_config=v3.RouteConfiguration(name="in", virtual_hosts=[host]),
        http_filters=[*filters, router],
    )
    manager.http_protocol_options.allow_custom_methods = True
    return manager


def _http_chain(folder: Path, cases: Sequence[Case]) -> dict[str, Any]:
    filters = [
        v3.HttpFilter(name=name, typed_config=codec.pack(config), disabled=True)
        for _, name, config in AuthorizationHooks.route_filters("inbound")
    ]
    jwt = v3.HttpFilter(name=JWT, typed_config=codec.pack(_authentication()))
    manager = _http([_route(index, case) for index, case in enumerate(cases)], [jwt, *filters])
    manager.use_remote_address.value = True
    manager.local_reply_config.body_format.text_format_source.inline_string = "%RESPONSE_CODE_DETAILS%"
    return {"filters": [_manager(manager)], "transport_socket": _tls(folder)}


def _authentication() -> v3.JwtAuthentication:
    """Verifies the tokens of both issuers, as JWTAuthentication with `none-but-verify` does."""
    config = v3.JwtAuthentication()
    rule = config.rules.add()
    rule.match.prefix = "/"
    jwks = jwt_keys.key_set(jwt_keys.jwk(KEY, "ES256", "k"))
    for issuer, header in TOKEN_HEADERS.items():
        provider = config.providers[f"users/{issuer}"]
        provider.issuer, provider.payload_in_metadata = issuer, f"users/{issuer}"
        provider.local_jwks.inline_string = jwks
        provider.from_headers.add(name=header)
        either = rule.requires.requires_all.requirements.add().requires_any
        either.requirements.add(provider_name=f"users/{issuer}")
        either.requirements.add().allow_missing.SetInParent()
    return config


def _hooks(case: Case) -> AuthorizationHooks:
    (hooks,) = AuthorizationHooks.together([AuthorizationHooks(spec, ref) for ref, spec in case.policies])
    return hooks


def _route(index: int, case: Case) -> v3.Route:
    selected = v3.HeaderMatcher(name="x-case", string_match=v3.StringMatcher(exact=str(index)))
    route = v3.Route(match=v3.RouteMatch(prefix="/", headers=[selected]))
    route.route.cluster = cluster_names.app_cluster("http")
    tokens = [f"users/{issuer}" for issuer in ISSUERS]
    route.metadata.filter_metadata[METADATA_KEY].update({TOKENS_KEY: tokens})
    route.response_headers_to_add.add().header.CopyFrom(v3.HeaderValue(key="x-audit", value=_AUDIT))
    hooks = _hooks(case)
    (patched,) = hooks.patch_gateway_route(route) if case.gateway else hooks.patch_inbound_route(route)
    return patched


def _connection_chain(folder: Path, index: int, case: Case, back: int) -> dict[str, Any]:
    hooks = _hooks(case)
    proxy = v3.TcpProxy(stat_prefix="tcp", cluster=cluster_names.app_cluster("http"))
    configs = [(name, hooks.connection_filter(name, "tcp", gateway=False)) for name in (DENY, ALLOW)]
    filters = [
        v3.Filter(name=name, typed_config=codec.pack(config)) for name, config in (*configs, ("tcp", proxy))
    ]
    return {
        "filter_chain_match": {"server_names": [f"c{index}.test"]},
        "filters": [codec.to_dict(item) for item in filters],
        "transport_socket": _tls(folder),
    }
