"""A proxy's clusters, and the endpoints of each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshwright.cli.proxy_tables.dump import Json, Row, address_text, resources


def cluster_rows(configs: Iterable[Json]) -> Iterator[Row]:
    """Cluster, how it finds and chooses endpoints, and how its connections are secured."""
    for cluster, status, version in resources(configs, "ClustersConfigDump", "cluster"):
        tls = _tls_context(cluster)
        yield {
            "name": cluster.get("name", ""),
            "type": cluster.get("type") or cluster.get("cluster_type", {}).get("name") or "STATIC",
            "policy": cluster.get("lb_policy", "ROUND_ROBIN"),
            "tls": _tls_text(tls),
            "status": status,
            "sni": tls.get("sni", ""),
            "peers": _peers(tls),
            "connect_timeout": cluster.get("connect_timeout", ""),
            "version": version,
        }


def endpoint_rows(configs: Iterable[Json]) -> Iterator[Row]:
    """Cluster, address and health of each endpoint."""
    for assignment, status, _ in resources(configs, "EndpointsConfigDump", "endpoint_config"):
        for group in assignment.get("endpoints", ()):
            locality = group.get("locality", {})
            for endpoint in group.get("lb_endpoints", ()):
                yield {
                    "cluster": assignment.get("cluster_name", ""),
                    "address": address_text(endpoint.get("endpoint", {}).get("address", {})),
                    # UNKNOWN is EDS's word for an endpoint that nothing declares unhealthy.
                    "health": endpoint.get("health_status", "UNKNOWN").lower(),
                    "weight": endpoint.get("load_balancing_weight", 1),
                    "priority": group.get("priority", 0),
                    "locality": "/".join(
                        filter(None, (locality.get(key) for key in ("region", "zone", "sub_zone")))
                    ),
                    "status": status,
                }


def _tls_context(cluster: Json) -> Json:
    """The UpstreamTlsContext of a cluster, or of the first of its matches; empty for plain text."""
    sockets = [match.get("transport_socket", {}) for match in cluster.get("transport_socket_matches", ())]
    for socket in (cluster.get("transport_socket", {}), *sockets):
        config = socket.get("typed_config", {})
        inner = config.get("transport_socket", {}).get("typed_config", config)
        if str(inner.get("@type", "")).endswith("UpstreamTlsContext"):
            return dict(inner)
    return {}


def _tls_text(tls: Json) -> str:
    if not tls:
        return ""
    common = tls.get("common_tls_context", {})
    client = common.get("tls_certificate_sds_secret_configs") or common.get("tls_certificates")
    return "mTLS" if client else "TLS"


def _peers(tls: Json) -> list[str]:
    """The names that a server's certificate may have."""
    common = tls.get("common_tls_context", {})
    combined = common.get("combined_validation_context", {}).get("default_validation_context", {})
    context = common.get("validation_context", combined)
    matchers = [item.get("matcher", {}) for item in context.get("match_typed_subject_alt_names", ())]
    return [str(next(iter(matcher.values()), "")) for matcher in matchers]
