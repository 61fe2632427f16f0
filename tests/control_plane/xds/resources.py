"""Small resources for tests of the protocol. A second argument makes another version of each."""

from __future__ import annotations

from meshwright.control_plane.core.resource import CDS, ECDS, EDS, LDS, RDS, VHDS, Resource, encode
from meshwright.control_plane.envoy import codec, v3

ADS = v3.ConfigSource(ads=v3.AggregatedConfigSource())


def cluster(name: str, timeout: int = 1) -> Resource:
    """An EDS cluster; `timeout` is its connect timeout in seconds."""
    eds = v3.Cluster.EdsClusterConfig(eds_config=ADS)
    message = v3.Cluster(
        name=name, type=v3.Cluster.EDS, eds_cluster_config=eds, connect_timeout=v3.Duration(seconds=timeout)
    )
    return encode(CDS, name, message)


def endpoints(name: str, weight: int = 1) -> Resource:
    """Endpoints of a cluster: one locality of that weight."""
    locality = v3.LocalityLbEndpoints(load_balancing_weight=v3.UInt32Value(value=weight))
    return encode(EDS, name, v3.ClusterLoadAssignment(cluster_name=name, endpoints=[locality]))


def checked_cluster(name: str) -> Resource:
    """An EDS cluster with a health check."""
    eds = v3.Cluster.EdsClusterConfig(eds_config=ADS)
    checks = [v3.HealthCheck(tcp_health_check=v3.HealthCheck.TcpHealthCheck())]
    return encode(
        CDS, name, v3.Cluster(name=name, type=v3.Cluster.EDS, eds_cluster_config=eds, health_checks=checks)
    )


def instances(name: str, *ports: int, draining: tuple[int, ...] = (), zone: str = "") -> Resource:
    """Endpoints of a cluster: healthy ones at `ports`, and draining ones."""
    group = v3.LocalityLbEndpoints(locality=v3.Locality(zone=zone))
    for port in (*ports, *draining):
        endpoint = group.lb_endpoints.add()
        endpoint.endpoint.address.socket_address.address = "127.0.0.1"
        endpoint.endpoint.address.socket_address.port_value = port
        status = v3.HealthStatus.DRAINING if port in draining else v3.HealthStatus.HEALTHY
        endpoint.health_status = status
    return encode(EDS, name, v3.ClusterLoadAssignment(cluster_name=name, endpoints=[group]))


def listener(name: str, clusters: tuple[str, ...] = (), stat: str = "") -> Resource:
    """A listener that refers to clusters; `stat` is its stat prefix."""
    return encode(LDS, name, v3.Listener(name=name, stat_prefix=stat), required_clusters=clusters)


def routes(name: str, clusters: tuple[str, ...] = (), stat: str = "") -> Resource:
    """A route configuration that refers to clusters."""
    hosts = [v3.VirtualHost(name=domain, domains=[domain]) for domain in (*clusters, stat) if domain]
    message = v3.RouteConfiguration(name=name, virtual_hosts=hosts)
    return encode(RDS, name, message, required_clusters=clusters)


SHARED_FILTER = "envoy.filters.http.jwt_authn"


def shared_filter(*entries: str, clusters: tuple[str, ...] = ()) -> Resource:
    """The configuration of the filter for tokens, with requirements of these names."""
    config = v3.JwtAuthentication()
    for name in entries:
        config.requirement_map[name].allow_missing.SetInParent()
    message = v3.TypedExtensionConfig(name=SHARED_FILTER, typed_config=codec.pack(config))
    return encode(ECDS, SHARED_FILTER, message, required_clusters=clusters)


def host(service: str, clusters: tuple[str, ...] | None = None, stat: str = "") -> Resource:
    """The virtual host `out/<service>` with an alias `.mesh`; by default it uses the service's cluster."""
    name = f"out/{service}"
    message = v3.VirtualHost(name=name, domains=[service], include_request_attempt_count=bool(stat))
    required = (service,) if clusters is None else clusters
    message.request_headers_to_remove.extend([stat or "x-none", *required])
    return encode(VHDS, name, message, aliases=(name, f"{name}.mesh"), required_clusters=required)
