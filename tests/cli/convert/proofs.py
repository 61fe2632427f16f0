"""What proves each converted field: a tested example, a test of what it becomes, or why there is none.

An example in `proved/` is sent requests by the cases of `proved/tests.yaml` (test_proved.py); one in
`proved/processes/` is in force in the mesh of test_proved_processes.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from meshwright.cli.convert.consul.entries import entry_kind, read_entries
from meshwright.control_plane.api.yaml.parser import YamlNode, parse_yaml
from tests.cli.convert.examples import nodes_below

PROVED = Path(__file__).parent / "proved"
NO_EXAMPLES = ("tests.yaml",)

NO_LOSS = "no address of loopback drops packets"
PROCESSES = "cli/convert/test_proved_processes.py::"
ADDRESSES = "callers name a service, and no addresses"
TLS = "envoy/routes/test_tls.py::"
EXTERNAL = "envoy/test_external.py::"
TELEMETRY = "envoy/test_telemetry.py::"
DELAYS = "envoy/test_changes.py::test_every_response_and_delay_that_callers_get_is_in_the_picture"
CERTIFICATES = f"{TLS}test_certificates_that_are_missing_expired_or_broken_are_reported_and_stop_no_other"

TESTS: Mapping[str, Mapping[str, str]] = {
    "VirtualService": {
        "spec.http.retries.retryIgnorePreviousHosts": "envoy/test_retry.py::"
        "test_failed_connections_are_retried_on_another_instance_even_for_post",
        "spec.http.fault.delay": DELAYS,
        "spec.tls": f"{TLS}test_passthrough_is_never_opened",
    },
    "DestinationRule": {
        "spec.trafficPolicy.loadBalancer.simple": "envoy/test_balancing.py::test_round_robin_spreads_evenly",
        "spec.trafficPolicy.loadBalancer.warmup": "envoy/test_balancing.py::"
        "test_slow_start_ramps_up_new_instances",
        "spec.trafficPolicy.loadBalancer.warmupDurationSecs": "envoy/test_balancing.py::"
        "test_slow_start_ramps_up_new_instances",
        "spec.trafficPolicy.retryBudget": "envoy/test_retry.py::test_budget_prevents_a_retry_storm",
    },
    "RequestAuthentication": {
        "spec.jwtRules.jwks": "envoy/test_jwt.py::"
        "test_valid_tokens_pass_and_every_attack_is_refused_with_reason_and_policy",
        "spec.jwtRules.forwardOriginalToken": "envoy/test_jwt.py::"
        "test_claims_become_headers_and_forged_ones_are_removed_everywhere",
    },
    "Gateway": {
        "spec.servers.tls.mode": f"{TLS}test_client_certificates_are_verified_and_forwarded",
        "spec.servers.tls.credentialName": "cli/convert/test_application.py::test_converted_application_runs",
        "spec.servers.tls.credentialNames": f"{TLS}test_host_name_selects_certificate_and_routes",
        "spec.servers.tls.serverCertificate": CERTIFICATES,
        "spec.servers.tls.privateKey": CERTIFICATES,
        "spec.servers.tls.caCertificates": f"{TLS}test_client_certificates_are_verified_and_forwarded",
        "spec.servers.tls.minProtocolVersion": f"{TLS}test_old_versions_and_weak_ciphers_are_refused",
    },
    "ServiceEntry": {"spec.addresses": f"{EXTERNAL}test_tcp_port_is_an_upstream"},
    "Telemetry": {
        "spec.tracing.randomSamplingPercentage": f"{TELEMETRY}test_sampling_follows_the_policy",
        "spec.tracing.disableSpanReporting": f"{TELEMETRY}test_sampling_follows_the_policy",
        "spec.accessLogging.filter": f"{TELEMETRY}"
        "test_access_log_has_errors_without_queries_and_no_successes",
    },
    "Service": {
        "spec.trafficDistribution": "envoy/test_balancing.py::"
        "test_local_zone_is_preferred_and_the_other_takes_over",
    },
    "MeshRetry": {
        "spec.to.default.grpc": "envoy/test_grpc.py::test_listed_status_is_retried_on_another_instance"
    },
    "MeshTimeout": {"spec.to.default.idleTimeout": f"{PROCESSES}test_istios_idle_connections_end"},
    "MeshFaultInjection": {"spec.from.default.http.delay": DELAYS, "spec.to.default.http.delay": DELAYS},
    "service-defaults": {
        "rateLimits.instanceLevel": "envoy/test_rate_limits.py::test_rates_refill_as_the_bucket_says"
    },
}
"""Fields, or what is above them, whose behaviour a test of the policy that they become shows."""

NOT_SEEN: Mapping[str, Mapping[str, str]] = {
    "VirtualService": {
        "spec.http.name": "only a name",
        "spec.http.match.name": "only a name",
        "spec.http.retries.backoff": "it is time between attempts, and drawn at random",
        "spec.http.retries.retryRemoteLocalities": "false is what happens anyway",
    },
    "DestinationRule": {
        "spec.trafficPolicy.connectionPool.tcp.connectTimeout": NO_LOSS,
        "spec.trafficPolicy.connectionPool.tcp.tcpKeepalive": "packets of the kernel, and no requests",
    },
    "Gateway": {"spec.servers.name": "only a name"},
    "Telemetry": {
        "spec.selector": "it names a service as in other kinds, which are proved",
        "spec.targetRefs": "as targetRef",
        "spec.tracing.providers": "ignored",
    },
    "Service": {
        "spec.clusterIP": ADDRESSES,
        "spec.clusterIPs": ADDRESSES,
        "spec.ipFamilies": ADDRESSES,
        "spec.ipFamilyPolicy": ADDRESSES,
        "spec.sessionAffinity": "None is what happens anyway",
        "spec.internalTrafficPolicy": "Cluster is what happens anyway",
    },
    "Ingress": {"spec.defaultBackend.service.port.number": "as the number of a rule's backend"},
    "MeshRetry": {"spec.to.default.http.backOff": "it is time between attempts, and drawn at random"},
    "MeshTimeout": {
        "spec.to.default.connectionTimeout": NO_LOSS,
    },
    "service-resolver": {
        "subsets.onlyPassing": "true is what happens anyway",
        "connectTimeout": NO_LOSS,
    },
    "service-defaults": {
        "upstreamConfig.defaults.connectTimeoutMs": NO_LOSS,
        "upstreamConfig.overrides.connectTimeoutMs": NO_LOSS,
    },
}
"""Fields, or what is above them, whose effect no traffic shows, with the reason."""


def proved_fields(source: str, kind: str) -> set[str]:
    """The fields of a kind that the proved examples have."""
    nodes = [node for path in _examples(source) for node in _documents(source, path)]
    return {field for name, node in nodes if name == kind for field, _ in nodes_below(node)}


def entry_for(fields: Mapping[str, str], field: str) -> str:
    """The entry of a field, or of the nearest one above it; empty if there is none."""
    while field and field not in fields:
        field = field.rpartition(".")[0]
    return field


def _examples(source: str) -> Iterator[Path]:
    prefixes = (source, "kubernetes") if source == "istio" else (source,)
    for path in sorted(PROVED.rglob("*.*")):
        if path.name.startswith(prefixes) and path.name not in NO_EXAMPLES:
            yield path


def _documents(source: str, path: Path) -> Iterator[tuple[str, YamlNode]]:
    """The kind and the content of each document of an example."""
    if source == "consul":
        for entry in read_entries([(path.name, path.read_text())])[0]:
            yield entry_kind(entry.node.value), entry.node
        return
    for node in parse_yaml(path.read_text())[0]:
        yield str(node.value.get("type") or node.value["kind"]), node
