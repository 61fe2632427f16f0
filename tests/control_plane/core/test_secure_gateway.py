"""What listeners of HTTPS and TLS become: filter chains by host name, secrets by file name, and 421."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.core import gateway
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import v3
from tests.control_plane.core.worlds import body, exchange, route

CERTIFICATES = "".join(
    f"""
---
apiVersion: meshwright.io/v1
kind: Certificate
metadata: {{name: {name}}}
spec: {{{files}}}
"""
    for name, files in (
        ("a", "certificateFile: a.crt, privateKeyFile: a.key"),
        ("b", "certificateFile: /b/b.crt, privateKeyFile: /b/b.key"),
        ("clients", "caFile: clients.pem"),
        ("partners", "caFile: partners.pem"),
    )
)

BOTH = "caCertificateRefs: [{kind: Certificate, name: clients}, {kind: Certificate, name: partners}]"


def listener(name: str, host: str, tls: str = "certificateRefs: [{name: a}]", protocol: str = "HTTPS") -> str:
    """A listener of port 8443."""
    hostname = f", hostname: '{host}'" if host else ""
    return f"{{name: {name}, port: 8443, protocol: {protocol}{hostname}, tls: {{{tls}}}}}"


def translated(*listeners: str, more: str = "", request_log: bool = False) -> tuple[list[Any], list[Any]]:
    """Envoy's listeners and route configurations."""
    document = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ingress}}
spec: {{listeners: [{", ".join(listeners)}]}}
"""
    view = translate(exchange(document + CERTIFICATES + more)).snapshot.gateways["ingress"]
    resources = gateway.listeners(view, "127.0.0.1", {}, request_log=request_log)
    return list(map(body, resources)), list(map(body, gateway.route_configurations(view, {})))


def tls_of(chain: Any) -> Any:
    """The TLS of a filter chain."""
    context = v3.DownstreamTlsContext()
    assert chain.transport_socket.typed_config.Unpack(context)
    return context


def secrets(context: Any) -> list[str]:
    return [config.name for config in context.common_tls_context.tls_certificate_sds_secret_configs]


HOSTS = {"one": "a.test", "two": "*.b.test"}


def test_listeners_of_a_port_are_chains_of_one_by_host_with_secrets_named_after_files() -> None:
    two = "certificateRefs: [{name: a}, {name: b}], options: {meshwright.io/minimum-version: '1.3'}"
    (message,), _ = translated(listener("one", HOSTS["one"]), listener("two", HOSTS["two"], two))
    chains = {chain.name: chain for chain in message.filter_chains}
    hosts = {name: list(chain.filter_chain_match.server_names) for name, chain in chains.items()}
    assert hosts == {f"{name}/{who}": [host] for name, host in HOSTS.items() for who in ("local", "clients")}
    first, second = (tls_of(chains[f"{name}/clients"]) for name in HOSTS)
    assert secrets(first) == ["certificate/a?certificate=a.crt&key=a.key"]
    assert secrets(second)[1] == "certificate/b?certificate=%2Fb%2Fb.crt&key=%2Fb%2Fb.key"
    oldest = [
        context.common_tls_context.tls_params.tls_minimum_protocol_version for context in (first, second)
    ]
    assert oldest == [v3.TlsParameters.TLSv1_2, v3.TlsParameters.TLSv1_3]
    assert list(first.common_tls_context.alpn_protocols) == ["h2", "http/1.1"]


def test_a_listener_without_a_certificate_or_a_client_ca_is_not_opened() -> None:
    gone = "certificateRefs: [{name: gone}]"
    no_ca = "certificateRefs: [{name: a}], frontendValidation: {caCertificateRefs: [{name: a}]}"
    (message,), _ = translated(
        listener("open", "a.test"), listener("gone", "b.test", gone), listener("blind", "c.test", no_ca)
    )
    assert [chain.name for chain in message.filter_chains] == ["open/local", "open/clients"]
    assert translated(listener("gone", "b.test", gone))[0] == []


@pytest.mark.parametrize(
    ("more", "required", "untrusted"),
    [
        ("", True, False),
        (", options: {meshwright.io/client-certificate: Optional}", False, False),
        ("mode: AllowInsecureFallback", False, True),
    ],
)
def test_several_authorities_verify_clients_as_one_secret(more: str, required: bool, untrusted: bool) -> None:
    mode = f", {more}" if untrusted else ""
    tls = f"certificateRefs: [{{name: a}}], frontendValidation: {{{BOTH}{mode}}}{'' if untrusted else more}"
    (message,), _ = translated(listener("one", "", tls))
    context = tls_of(message.filter_chains[0])
    assert context.require_client_certificate.value is required
    combined = context.common_tls_context.combined_validation_context
    name = "certificate/clients+partners?ca=clients.pem&ca=partners.pem"
    assert combined.validation_context_sds_secret_config.name == name
    accepts = v3.CertificateValidationContext.ACCEPT_UNTRUSTED
    trust = combined.default_validation_context.trust_chain_verification
    assert (trust == accepts) is untrusted


def test_requests_for_the_host_of_another_listener_get_421() -> None:
    rules = "{backendRefs: [{name: orders}]}"
    _, configurations = translated(
        listener("one", "a.test"),
        listener("rest", ""),
        more=route("r", rules, "{name: ingress}"),
    )
    hosts = {
        item.name: {host.name: list(host.domains) for host in item.virtual_hosts} for item in configurations
    }
    assert hosts["ingress/one"]["misdirected"] == ["*"]
    assert hosts["ingress/rest"]["misdirected"] == ["a.test"]


def test_connections_pass_authorization_and_go_where_their_host_leads() -> None:
    tls_route = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: rows}
spec: {parentRefs: [{name: ingress}], hostnames: [rows.a.test], rules: [{backendRefs: [{name: orders}]}]}
"""
    (message,), configurations = translated(
        listener("rows", "*.a.test", protocol="TLS"), more=tls_route, request_log=True
    )
    hosts = {chain.name: list(chain.filter_chain_match.server_names) for chain in message.filter_chains}
    assert hosts == {"rows/*.a.test": ["*.a.test"], "rows/rows.a.test": ["rows.a.test"]}
    chain = message.filter_chains[1]
    assert [entry.name.partition("/")[2] for entry in chain.filters[:-1]] == ["ingress/rows"] * 2
    assert configurations == []
    assert len(message.access_log) == 1, "refused handshakes are recorded"
    assert not translated(listener("rows", "*.a.test", protocol="TLS"), more=tls_route)[0][0].access_log
