"""ExternalService: what a document may say, and what follows for Envoy's configuration."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.core.external_hosts import NO_HOSTS
from meshwright.control_plane.core.resource import CDS, RDS
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.externalservice.spec import ExternalServiceSpec
from meshwright.control_plane.status.conditions import policy_statuses
from tests.control_plane.core.worlds import body, documents, exchange, mesh, route, service, world

CARDS = "{kind: ExternalService, name: cards}"


def document(spec: str, name: str = "cards") -> str:
    return (
        "---\napiVersion: meshwright.io/v1\nkind: ExternalService\n"
        f"metadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )


def snapshot_of(*texts: str) -> Snapshot:
    return translate(exchange("".join(texts))).snapshot


def domains(snapshot: Snapshot, caller: str = "") -> set[str]:
    hosts = snapshot.outside.get(caller, NO_HOSTS).virtual_hosts
    return {domain for host in hosts for domain in v3.VirtualHost.FromString(host).domains}


def cluster(snapshot: Snapshot, name: str = "/external/cards", caller: str = "") -> v3.Cluster:
    table = snapshot.variants[caller] if caller else snapshot.shared
    message = body(table[CDS, name])
    assert isinstance(message, v3.Cluster)
    return message


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({}, "neither hosts nor addresses"),
        ({"hosts": ["orders"]}, "contain a dot"),
        ({"hosts": ["a.mesh"]}, "contain a dot"),
        ({"hosts": ["*.mesh"]}, "contain a dot"),
        ({"hosts": ["10.0.0.1"]}, "move it to addresses"),
        ({"hosts": ["a.example", "a.example"]}, "occurs twice"),
        ({"addresses": ["fd00::/8"]}, "network of IPv6"),
        ({"addresses": ["10.0.0.1/8"]}, "host bits"),
        ({"hosts": ["a.example"], "ports": [{"port": 80}, {"port": 80}]}, "port '80' occurs twice"),
        ({"hosts": ["a.example"], "resolution": "static"}, "static needs endpoints"),
        (
            {
                "hosts": ["a.example"],
                "resolution": "dns-logical",
                "endpoints": [{"address": "b"}, {"address": "c"}],
            },
            "keep one endpoint",
        ),
        ({"hosts": ["a.example"], "endpoints": [{"address": "b", "port": 1}]}, "use targetPort"),
        (
            {"hosts": ["a.example"], "tls": {}, "ports": [{"port": 443, "protocol": "https"}]},
            "tls has no effect",
        ),
        ({"hosts": ["a.b", "c.d"], "tls": {}, "ports": [{"port": 1, "protocol": "tcp"}]}, "set tls.sni"),
        ({"hosts": ["*.a.example"], "resolution": "dns-logical"}, "resolution needs endpoints"),
        ({"hosts": ["*.a.example"], "resolvers": ["10.0.0.2:53"]}, "resolvers needs endpoints"),
        ({"hosts": ["*.a.b"], "ports": [{"port": 80, "targetPort": 81}]}, "targetPort needs endpoints"),
        ({"hosts": ["a.example"], "resolvers": ["dns:53"]}, "IP address with a port"),
        ({"hosts": ["a.example"], "tls": {"ca": "x"}}, "no PEM certificate"),
        (
            {"hosts": ["a.example"], "tls": {"clientCertificate": {"certificate": "a", "privateKey": "/b"}}},
            "pattern",
        ),
    ],
)
def test_spec_without_a_meaning_is_refused(spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ExternalServiceSpec.model_validate(spec)


def test_a_host_alone_has_the_ports_of_the_web() -> None:
    snapshot = snapshot_of(document("hosts: [api.example]"))
    assert domains(snapshot) == {"api.example", "api.example:80", "api.example:443"}
    assert cluster(snapshot).type == v3.Cluster.STRICT_DNS
    assert not cluster(snapshot).HasField("transport_socket")


def test_tls_goes_to_port_443_and_verifies_the_host() -> None:
    message = cluster(snapshot_of(document("hosts: [api.example], tls: {minVersion: 1.3}")))
    endpoint = message.load_assignment.endpoints[0].lb_endpoints[0].endpoint
    assert endpoint.address.socket_address.port_value == 443
    tls = v3.UpstreamTlsContext.FromString(message.transport_socket.typed_config.value)
    assert tls.sni == "api.example"
    names = tls.common_tls_context.validation_context.match_typed_subject_alt_names
    assert [name.matcher.exact for name in names] == ["api.example"]
    assert tls.common_tls_context.tls_params.tls_minimum_protocol_version == v3.TlsParameters.TLSv1_3


def test_several_hosts_are_resolved_as_they_are_called_and_verified_by_request() -> None:
    message = cluster(
        snapshot_of(
            document("hosts: ['*.example', other.test], tls: {}"),
            mesh("LoadBalancer", "ring", "algorithm: RingHash, hashOn: {header: a}", CARDS),
            mesh("HealthCheck", "probe", "tcp: {}", CARDS),
            mesh("CircuitBreaker", "limits", "maxRequests: 5", CARDS),
        )
    )
    assert message.cluster_type.name == "envoy.clusters.dynamic_forward_proxy"
    assert message.lb_policy == v3.Cluster.CLUSTER_PROVIDED
    assert not message.health_checks
    assert not message.HasField("load_balancing_policy")
    assert message.circuit_breakers.thresholds[0].max_requests.value == 5
    (options,) = message.typed_extension_protocol_options.values()
    http = v3.HttpProtocolOptions.FromString(options.value).upstream_http_protocol_options
    assert (http.auto_sni, http.auto_san_validation) == (True, True)


def test_older_document_keeps_a_host_that_two_declare() -> None:
    old = documents(document("hosts: [a.example, b.example]", "old"), created=1)
    new = documents(document("hosts: [b.example, c.example]", "another"), created=2)
    snapshot = translate(world(service("catalog"), policy_documents=(*new, *old))).snapshot
    owner = {
        domain: message.name
        for host in snapshot.outside[""].virtual_hosts
        for message in [v3.VirtualHost.FromString(host)]
        for domain in message.domains
    }
    assert owner["b.example"] == "external/old"
    assert owner["c.example"] == "external/another"


def test_hosts_and_policies_are_those_of_the_caller() -> None:
    snapshot = snapshot_of(
        document("hosts: [a.example], from: [orders]"),
        document("hosts: [b.example]", "everybody"),
        mesh("ConnectionPool", "mine", "from: [catalog], connectTimeout: 3s", CARDS),
        mesh("Timeout", "for-all", "request: 1s"),
    )
    assert "a.example" not in domains(snapshot)
    assert "a.example" not in domains(snapshot, "catalog")
    assert "a.example" in domains(snapshot, "orders")
    assert cluster(snapshot).connect_timeout.ToSeconds() == 10
    assert cluster(snapshot, caller="catalog").connect_timeout.ToSeconds() == 3
    assert not snapshot.problems
    host = v3.VirtualHost.FromString(snapshot.outside["orders"].virtual_hosts[0])
    assert host.routes[0].route.timeout.ToSeconds() == 0, "policies for the Mesh do not go outside"


def test_breaker_without_probes_readmits_after_the_time_it_states() -> None:
    breaker = mesh("CircuitBreaker", "breaker", "openFor: 30s, halfOpen: probe", CARDS)
    outlier = cluster(snapshot_of(document("hosts: [a.example]"), breaker)).outlier_detection
    assert outlier.base_ejection_time.ToSeconds() == 30


def test_networks_are_matched_by_address_and_port() -> None:
    snapshot = snapshot_of(document("addresses: [10.1.64.0/18, 192.0.2.7], ports: [{port: 8080}]"))
    assert domains(snapshot) == {"192.0.2.7:8080"}
    routes = [v3.Route.FromString(route) for route in snapshot.outside[""].routes]
    patterns = {header.string_match.safe_regex.regex for route in routes for header in route.match.headers}
    (pattern,) = (pattern for pattern in patterns if "8080" in pattern)
    assert re_matches(pattern, "10.1.64.0:8080", "10.1.127.255:8080")
    for authority in ("10.1.63.1:8080", "10.1.128.1:8080", "10.1.64.1", "10.1.64.1:80", "a10.1.64.1:8080"):
        assert not re_matches(pattern, authority)


def re_matches(pattern: str, *texts: str) -> bool:
    return all(re.fullmatch(pattern, text) for text in texts)


def test_change_of_a_host_changes_the_routes_of_every_sidecar() -> None:
    before, after = snapshot_of(), snapshot_of(document("hosts: [a.example]"))
    assert (RDS, "out") in after.changed_from(before)
    assert (RDS, "out") not in after.changed_from(snapshot_of(document("hosts: [a.example]")))
    assert codec.encode(cluster(after)) == codec.encode(cluster(snapshot_of(document("hosts: [a.example]"))))


def test_status_names_the_owner_of_a_host_and_callers_that_do_not_exist() -> None:
    old = documents(document("hosts: [a.example], from: [orders]", "old"), created=1)
    new = documents(document("hosts: [a.example, b.example]", "another"), created=2)
    apart = documents(document("hosts: [a.example], from: [nobody]", "apart"), created=3)
    policies = tuple(sorted((*new, *old, *apart), key=lambda entry: entry.ref))
    statuses = policy_statuses(world(service("orders"), policy_documents=policies), {})
    texts = {status.name: (status.state, status.reason) for status in statuses}
    assert texts["old"][0] == "unused"
    assert texts["another"] == (
        "conflicted",
        "ExternalService/old has the same target, is older, and applies instead",
    )
    assert texts["apart"][0] == "conflicted", "everybody's document has the host for nobody too"


def test_rate_limit_is_in_force_for_requests_and_tunnels() -> None:
    snapshot = snapshot_of(
        document("hosts: [a.example]"), mesh("RateLimit", "quota", "limits: [{requests: 1, per: 1s}]", CARDS)
    )
    hosts = [v3.VirtualHost.FromString(host) for host in snapshot.outside[""].virtual_hosts]
    limited = [route for host in hosts for route in host.routes if route.typed_per_filter_config]
    assert {route.match.HasField("connect_matcher") for route in limited} == {True, False}
    assert snapshot.nodes["catalog"].filters[0].kind == "RateLimit"


def test_policies_that_need_addresses_say_so_where_there_are_none() -> None:
    policies = documents(
        document("hosts: ['*.example']")
        + mesh("HealthCheck", "probe", "tcp: {}", CARDS)
        + mesh("Timeout", "limit", "request: 1s", CARDS)
    )
    ordered = tuple(sorted(policies, key=lambda entry: entry.ref))
    statuses = policy_statuses(world(service("orders"), policy_documents=ordered), {})
    states = {status.kind: (status.state, status.reason) for status in statuses}
    assert states["HealthCheck"][0] == "no-effect"
    assert "give it endpoints" in states["HealthCheck"][1]
    assert states["Timeout"][0] == "unused"


# --- through a gateway --------------------------------------------------------------------------------

VIA = "via: {name: egress}"


def test_hosts_without_one_list_of_addresses_take_no_gateway() -> None:
    with pytest.raises(ValidationError, match="via needs endpoints"):
        ExternalServiceSpec.model_validate({"hosts": ["*.example.com"], "via": {"name": "egress"}})


def test_callers_reach_the_gateway_by_mutual_tls_and_the_gateway_the_host() -> None:
    snapshot = snapshot_of(
        document(f"hosts: [api.example], tls: {{}}, {VIA}"),
        mesh("CircuitBreaker", "limits", "maxRequests: 5, consecutiveFailures: 3, openFor: 9s", CARDS),
        mesh("HealthCheck", "probe", "tcp: {}", CARDS),
        mesh("LoadBalancer", "ring", "algorithm: RingHash, hashOn: {header: a}", CARDS),
    )
    caller, gateway = cluster(snapshot, "egress/external/cards"), cluster(snapshot)
    tls = v3.UpstreamTlsContext.FromString(caller.transport_socket.typed_config.value)
    assert (caller.type, tls.sni) == (v3.Cluster.EDS, "80.cards.external.mesh")
    names = tls.common_tls_context.combined_validation_context.default_validation_context
    assert [name.matcher.exact for name in names.match_typed_subject_alt_names] == [
        "spiffe://mesh.local/gateway/egress"
    ]
    assert caller.circuit_breakers.thresholds[0].max_requests.value == 5
    assert caller.outlier_detection.base_ejection_time.ToSeconds() == 9
    assert not caller.health_checks
    assert not caller.HasField("load_balancing_policy")
    assert gateway.type == v3.Cluster.STRICT_DNS
    assert gateway.health_checks
    assert gateway.HasField("load_balancing_policy")
    assert not snapshot.dangling_references()


def test_a_gateway_that_was_left_serves_requests_until_the_next_change() -> None:
    old, new = (
        exchange(document(f"hosts: [api.example]{via}")) for via in (f", {VIA}", ", via: {name: other}")
    )
    before = translate(old)
    after = translate(new, before)
    assert [view.port.port for view in before.snapshot.gateways["egress"].egress] == [80, 443]
    assert [view.port.port for view in after.snapshot.gateways["egress"].egress] == [80]
    assert [view.port.port for view in after.snapshot.gateways["other"].egress] == [80, 443]
    assert not after.snapshot.dangling_references()
    later = exchange(
        document("hosts: [api.example], via: {name: other}") + mesh("Timeout", "t", "request: 1s")
    )
    assert "egress" not in translate(later, after).snapshot.gateways


def test_a_gateway_that_nobody_knows_is_a_condition() -> None:
    world_of = exchange(document("hosts: [api.example], via: {name: egres}"))
    (status,) = policy_statuses(world_of, {}, {"egress": {}})
    reasons = {condition.reason: condition.message for condition in status.conditions}
    assert "there is no Gateway egres yet (did you mean egress?)" in reasons["GatewayNotFound"]


def test_a_route_of_the_gateway_itself_leads_outside_at_once() -> None:
    backend = "{backendRefs: [{group: meshwright.io, kind: ExternalService, name: cards}]}"
    text = document("hosts: [api.example], via: {name: ingress}") + route("r", backend, "{name: ingress}")
    snapshot = snapshot_of(text, route("other", backend, "{name: other}"))
    used = {
        name: [
            backend.cluster
            for listener in snapshot.gateways[name].listeners
            for host in listener.hosts
            for rule in host.rules
            for backend in rule.backends
        ]
        for name in ("ingress", "other")
    }
    assert used == {"ingress": ["/external/cards"], "other": ["ingress/external/cards"]}
