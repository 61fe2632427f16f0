"""HealthCheck as Envoy's active health checks."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.healthcheck.spec import HealthCheckSpec
from meshwright.control_plane.policies.hooks import Hooks, Symptom, Trial

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
"""Clusters of http and grpc ports have these options; those of tcp ports do not."""

PROBE, PROBE_AGENT = "health-check", "Envoy/HC"
"""The name of the route for probes, and how Envoy names itself in them."""

GRPC_HEALTH = "/grpc.health.v1.Health/Check"

EJECTED_UNTIL_PROBE_PASSES = timedelta(hours=1)
"""How long outlier detection would keep an instance ejected if no probe ever succeeded."""


class HealthCheckHooks(Hooks[HealthCheckSpec]):
    """The probe, on the cluster."""

    explains: ClassVar[tuple[Symptom, ...]] = (
        Symptom("UH", ("http", "grpc", "tcp", "unhealthyThreshold"), statistic="health_check.failure"),
    )

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Add the probe; where a CircuitBreaker ejects, a successful probe becomes the only way back.

        Envoy readmits an ejected host when any probe of it succeeds. The ejection time is extended so that it
        does not end first.
        """
        if not self._applies_to(cluster):
            return
        check = cluster.health_checks.add()
        check.interval.FromTimedelta(self.spec.interval)
        check.no_traffic_interval.FromTimedelta(self.spec.interval)
        check.timeout.FromTimedelta(self.spec.timeout)
        check.unhealthy_threshold.value = self.spec.unhealthy_threshold
        check.healthy_threshold.value = self.spec.healthy_threshold
        self._set_probe(check, authority=cluster.name.partition("/")[0])
        if cluster.HasField("outlier_detection"):
            outlier = cluster.outlier_detection
            outlier.base_ejection_time.FromTimedelta(EJECTED_UNTIL_PROBE_PASSES)
            outlier.max_ejection_time.FromTimedelta(EJECTED_UNTIL_PROBE_PASSES)
            outlier.successful_active_health_check_uneject_host.value = True

    def patch_inbound_route(self, route: v3.Route) -> list[v3.Route]:
        """Let probes through to the application, whatever other policies ask of its callers."""
        port = cluster_names.app_port(route.route.cluster)
        path = self.spec.http.path if self.spec.http else GRPC_HEALTH if self.spec.grpc else ""
        if not path or self.spec.port not in (None, port) or not route.HasField("route"):
            return [route]
        probe = v3.Route(name=PROBE, match=route.match, route=route.route)
        probe.match.path = path.partition("?")[0]
        agent = v3.StringMatcher(exact=PROBE_AGENT)
        probe.match.headers.append(v3.HeaderMatcher(name="user-agent", string_match=agent))
        return [probe, route]

    def trial(self) -> Trial | None:
        """None: these probes readmit an ejected instance, and an Envoy has one health check per cluster."""
        return None

    def _applies_to(self, cluster: v3.Cluster) -> bool:
        """Whether this probe suits the cluster's port. Names: `orders`, `orders:grpc`, `orders/v2`."""
        if self.spec.tcp is None and HTTP_OPTIONS not in cluster.typed_extension_protocol_options:
            return False
        port = cluster.name.partition(":")[2]
        if self.spec.port is not None:
            return port == self.spec.port
        return not port or self.spec.tcp is not None

    def _set_probe(self, check: v3.HealthCheck, authority: str) -> None:
        if self.spec.http is not None:
            probe = check.http_health_check
            probe.host, probe.path = authority, self.spec.http.path
            # 1 is HTTP2 of envoy.type.v3.CodecClientType, the only codec that sidecars accept.
            probe.codec_client_type = 1
            for status in sorted(set(self.spec.http.expected_statuses)):
                probe.expected_statuses.add(start=status, end=status + 1)
        elif self.spec.grpc is not None:
            check.grpc_health_check.service_name = self.spec.grpc.service
            check.grpc_health_check.authority = authority
        else:
            check.tcp_health_check.SetInParent()
