"""CircuitBreaker as Envoy's outlier detection and circuit breaker thresholds."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from meshwright.control_plane.api.trials import TRIAL_GRACE
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.circuitbreaker.spec import CircuitBreakerSpec
from meshwright.control_plane.policies.hooks import Hooks, Symptom, Trial
from meshwright.control_plane.policies.thresholds import default_thresholds

_MAX_INTERVAL, _MIN_INTERVAL = timedelta(seconds=1), timedelta(milliseconds=50)
_INTERVALS_PER_EJECTION = 10


class CircuitBreakerHooks(Hooks[CircuitBreakerSpec]):
    """Ejection and limits, on the cluster."""

    explains: ClassVar[tuple[Symptom, ...]] = (
        Symptom(
            "UO",
            ("maxRequests", "maxPending", "maxConnections"),
            statistic="upstream_rq_pending_overflow",
        ),
        Symptom("UH", ("consecutiveFailures", "openFor"), statistic="outlier_detection.ejections_active"),
    )

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Set outlier detection that may eject every instance, and the default priority's limits.

        Envoy checks once per `interval` which hosts may return, so that is a tenth of openFor, 1 s at most.
        """
        spec, outlier = self.spec, cluster.outlier_detection
        outlier.consecutive_5xx.value = spec.consecutive_failures
        outlier.enforcing_consecutive_5xx.value = 100
        outlier.enforcing_success_rate.value = 0
        outlier.max_ejection_percent.value = 100
        outlier.interval.FromTimedelta(
            max(_MIN_INTERVAL, min(_MAX_INTERVAL, spec.open_for / _INTERVALS_PER_EJECTION))
        )
        ejection = spec.open_for + (TRIAL_GRACE if spec.half_open == "probe" else timedelta(0))
        outlier.base_ejection_time.FromTimedelta(ejection)
        outlier.max_ejection_time.FromTimedelta(ejection)
        self._set_limits(default_thresholds(cluster))

    def trial(self) -> Trial | None:
        """The half-open state, if a probe decides."""
        return Trial(self.spec.open_for) if self.spec.half_open == "probe" else None

    def _set_limits(self, thresholds: v3.CircuitBreakers.Thresholds) -> None:
        for field, limit in (
            (thresholds.max_connections, self.spec.max_connections),
            (thresholds.max_pending_requests, self.spec.max_pending),
            (thresholds.max_requests, self.spec.max_requests),
        ):
            if limit is not None:
                field.value = limit
