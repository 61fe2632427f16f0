"""A cluster whose ejected instances return by a trial: the active health check that the agent answers.

The check goes to the socket of the caller's own Envoy, for every instance (see api.trials). A service's
cluster keeps its TLS for requests; only the check speaks plain HTTP, by a transport socket of its own.
"""

from __future__ import annotations

from datetime import timedelta

from meshwright.control_plane.api import trials
from meshwright.control_plane.core.views import TrialView
from meshwright.control_plane.envoy import codec, v3

_NEVER = 2**32 - 1
"""An unhealthy threshold that is never reached: only FAILED, which is final, keeps an instance out."""

_MAX_INTERVAL, _MIN_INTERVAL = timedelta(seconds=1), timedelta(milliseconds=100)

_FIRST_INTERVAL = timedelta(milliseconds=50)
"""Between checks of instances that passed none yet: while Envoy starts, its own socket does not answer."""

_MARK = {"trial": True}


def add_trial(cluster: v3.Cluster, view: TrialView) -> None:
    """Add the health check. It is in flight nearly always, so that the agent can answer when the time comes.

    A trial reaches an instance that no other request may reach: `override_host_status` permits it.
    """
    _add_check(cluster, view)
    if cluster.HasField("transport_socket"):
        plain = v3.TransportSocket(
            name="envoy.transport_sockets.raw_buffer", typed_config=codec.pack(v3.RawBuffer())
        )
        cluster.transport_socket_matches.add(name="trial", match=codec.struct(_MARK), transport_socket=plain)
    statuses = (v3.HealthStatus.UNKNOWN, v3.HealthStatus.HEALTHY, v3.HealthStatus.UNHEALTHY)
    cluster.common_lb_config.override_host_status.statuses.extend(statuses)


def _add_check(cluster: v3.Cluster, view: TrialView) -> None:
    check = cluster.health_checks.add()
    interval = max(_MIN_INTERVAL, min(_MAX_INTERVAL, view.open_for / 10))
    check.interval.FromTimedelta(interval)
    check.no_traffic_interval.FromTimedelta(_FIRST_INTERVAL)
    check.no_traffic_healthy_interval.FromTimedelta(interval)
    check.timeout.FromTimedelta(timedelta(seconds=trials.ANSWER_TIMEOUT + 5))
    check.unhealthy_threshold.value = _NEVER
    check.healthy_threshold.value = 1
    check.transport_socket_match_criteria.CopyFrom(codec.struct(_MARK))
    probe = check.http_health_check
    probe.path = trials.HOLD_PATH
    probe.retriable_statuses.add(start=trials.UNDECIDED, end=trials.UNDECIDED + 1)
    for name, value in (
        (trials.CLUSTER_HEADER, cluster.name),
        (trials.OPEN_FOR_HEADER, str(view.open_for // timedelta(milliseconds=1))),
        (trials.PROTOCOL_HEADER, view.protocol),
        (trials.PATH_HEADER, view.path),
    ):
        if value:
            # Values are formats, in which a percent sign is doubled.
            probe.request_headers_to_add.add(header=v3.HeaderValue(key=name, value=value.replace("%", "%%")))


def set_check_address(endpoint: v3.Endpoint, address: str, port: int) -> None:
    """Send the checks of the instance at `address` and `port` to Envoy's own socket."""
    check = endpoint.health_check_config
    check.hostname = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    check.address.pipe.path = trials.TRIAL_SOCKET
