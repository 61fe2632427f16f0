"""What a proxy does towards the cluster that a request is sent to: limits in time, retries, TLS, instances.

Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.percent_text import percent_text
from meshwright.control_plane.core.clusters import UNLIMITED
from meshwright.control_plane.core.resource import CDS, EDS
from meshwright.control_plane.core.snapshot import NodeSnapshot
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.explain.filters import percent, seconds
from meshwright.control_plane.explain.flow import Flow
from meshwright.control_plane.explain.listener import DownstreamConnection
from meshwright.control_plane.explain.resources import message, message_of, unpacked

MAX_ENDPOINTS = 8
"""Endpoints that are listed."""


def of_route(flow: Flow, action: v3.RouteAction, refs: Sequence[str]) -> None:
    """Timeouts, retries and copies, as the route says."""
    limits = action.max_stream_duration
    timeout = limits.max_stream_duration if limits.HasField("max_stream_duration") else action.timeout
    details = [f"idle: {seconds(action.idle_timeout)}"]
    if action.retry_policy.HasField("per_try_timeout"):
        details.append(f"each try: {seconds(action.retry_policy.per_try_timeout)}")
    flow.say("timeout", seconds(timeout), refs=_of(refs, "Timeout"), details=details)
    retry = action.retry_policy
    if retry.retry_on:
        statuses = [str(status) for status in retry.retriable_status_codes]
        on = ", ".join((*filter(None, retry.retry_on.split(",")), *statuses))
        times = retry.num_retries.value if retry.HasField("num_retries") else 1
        flow.say("retries", f"{times} on {on}", refs=_of(refs, "Retry"))
    for mirror in action.request_mirror_policies:
        share = percent(mirror.runtime_fraction.default_value)
        name = cluster_names.displayed(mirror.cluster)
        flow.say(
            "mirror", f"{percent_text(share)} are copied to {name}", refs=_of(refs, "HTTPRoute", "GRPCRoute")
        )


def of_cluster(flow: Flow, name: str) -> None:
    """The cluster with its limits, the identities on both sides, and the instances."""
    if cluster_names.is_app_cluster(name):
        flow.say("application", f"at its port {cluster_names.app_port(name)}, on loopback")
        return
    resource = flow.proxy.node.get(CDS, name)
    if resource is None:
        flow.say("cluster", f"{cluster_names.displayed(name)} does not exist", "refuses")
        flow.respond(503)
        return
    cluster: v3.Cluster = message(resource)
    balancing = v3.Cluster.LbPolicy.Name(cluster.lb_policy).replace("_", " ").lower()
    refs = resource.policies
    policies = _of(refs, "LoadBalancer", "Subset", "ConnectionPool", "HealthCheck", "BackendTLSPolicy")
    shown = cluster_names.displayed(name)
    flow.say("cluster", f"{shown}, {balancing}", refs=policies, details=_limits(cluster))
    if cluster.HasField("outlier_detection"):
        outliers = cluster.outlier_detection
        flow.say(
            "circuit breaker", f"opens after {outliers.consecutive_5xx.value} failures in a row, "
            f"for {seconds(outliers.base_ejection_time)}", refs=_of(refs, "CircuitBreaker"),
        )  # fmt: skip
    _say_tls(flow, cluster, refs)
    if cluster.type == v3.Cluster.EDS:
        _say_endpoints(flow, name)


def connection_to(node: NodeSnapshot, name: str, address: str) -> DownstreamConnection:
    """The connection that a proxy at `address` opens for a request to a cluster."""
    cluster = message_of(node, CDS, name)
    config = tls_of(cluster) if cluster is not None else None
    return DownstreamConnection(address, tls=config is not None, sni=config.sni if config is not None else "")


def tls_of(cluster: v3.Cluster) -> v3.UpstreamTlsContext | None:
    """The TLS towards a cluster; None without any."""
    if not cluster.HasField("transport_socket"):
        return None
    config = unpacked(cluster.transport_socket.typed_config)
    return config if isinstance(config, v3.UpstreamTlsContext) else None


def _say_tls(flow: Flow, cluster: v3.Cluster, refs: Sequence[str]) -> None:
    mutual = _of(refs, "MutualTLS", "BackendTLSPolicy")
    if not cluster.HasField("transport_socket"):
        flow.say("transport", "plaintext", refs=mutual)
        return
    config = tls_of(cluster)
    if config is None:
        flow.say("transport", cluster.transport_socket.name, refs=mutual)
        return
    validation = config.common_tls_context.combined_validation_context.default_validation_context
    names = [item.matcher.exact for item in validation.match_typed_subject_alt_names]
    mine = bool(config.common_tls_context.tls_certificate_sds_secret_configs)
    text = f"{'mutual ' if mine else ''}TLS to {' or '.join(names) or config.sni}"
    flow.say("transport", text, refs=mutual, details=[f"SNI: {config.sni}"] if config.sni else ())


def _say_endpoints(flow: Flow, name: str) -> None:
    resource = flow.proxy.node.get(EDS, name)
    assignment = message(resource) if resource else v3.ClusterLoadAssignment()
    states = [
        (endpoint, v3.HealthStatus.Name(endpoint.health_status).lower(), group.priority)
        for group in assignment.endpoints
        for endpoint in group.lb_endpoints
    ]
    counts = Counter(state for _, state, _ in states)
    usable = counts["healthy"] + counts["unknown"]
    text = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"
    refs = _of(resource.policies if resource else (), "LoadBalancer")
    flow.say(
        "instances", text, "" if usable else "refuses", refs=refs, details=_listed(states),
    )  # fmt: skip
    if not usable:
        flow.respond(503)


def _listed(states: Sequence[tuple[v3.LbEndpoint, str, int]]) -> Iterator[str]:
    for endpoint, state, priority in states[:MAX_ENDPOINTS]:
        address = endpoint.endpoint.address.socket_address
        weight = endpoint.load_balancing_weight.value
        more = f", weight {weight}" if endpoint.HasField("load_balancing_weight") else ""
        more += ", in another zone" if priority else ""
        yield f"{address.address}:{address.port_value} {state}{more}"
    if len(states) > MAX_ENDPOINTS:
        yield f"and {len(states) - MAX_ENDPOINTS} more"


def _limits(cluster: v3.Cluster) -> Iterator[str]:
    for limits in cluster.circuit_breakers.thresholds[:1]:
        for field, words in (
            ("max_connections", "connections"),
            ("max_pending_requests", "waiting requests"),
            ("max_requests", "requests at once"),
        ):
            value = getattr(limits, field).value
            if limits.HasField(field) and value != UNLIMITED:
                yield f"at most {value} {words}"


def _of(refs: Iterable[str], *kinds: str) -> tuple[str, ...]:
    return tuple(ref for ref in refs if ref.partition("/")[0] in kinds)
