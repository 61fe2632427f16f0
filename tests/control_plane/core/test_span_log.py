"""Which proxy of a call makes spans, and which only logs them."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core import span_log
from meshwright.control_plane.core.attachment import EffectivePolicy
from meshwright.control_plane.core.http_connection_manager import connection_manager
from meshwright.control_plane.core.views import ListenerSettings
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.hooks import ListenerDirection
from meshwright.control_plane.policies.telemetry.spec import TelemetrySpec

CALLERS: tuple[ListenerDirection, ...] = ("outbound", "ingress")


def manager(direction: ListenerDirection, *, logs: bool) -> v3.HttpConnectionManager:
    """The connection manager of a proxy that traces."""
    policies = (EffectivePolicy("Telemetry", 1000, TelemetrySpec(), ""),)
    settings = ListenerSettings("orders", policies, tracing=True, request_log=True, span_log=logs)
    return connection_manager(direction, "test", "routes", settings)


def upstream_logs(built: v3.HttpConnectionManager) -> list[v3.AccessLog]:
    return list(v3.Router.FromString(built.http_filters[-1].typed_config.value).upstream_log)


@pytest.mark.parametrize("direction", CALLERS)
def test_a_caller_makes_one_span_and_logs_its_attempts(direction: ListenerDirection) -> None:
    built = manager(direction, logs=True)
    assert built.HasField("tracing")
    assert not built.tracing.spawn_upstream_span.value
    assert upstream_logs(built) == [span_log.attempt_log()]
    assert span_log.server_log() not in built.access_log


def test_a_callee_makes_no_span_and_logs_what_it_received() -> None:
    built = manager("inbound", logs=True)
    assert not built.HasField("tracing")
    assert list(built.access_log)[-1] == span_log.server_log()
    assert upstream_logs(built) == []


@pytest.mark.parametrize("direction", ["inbound", *CALLERS])
def test_with_an_external_collector_every_proxy_makes_all_spans(direction: ListenerDirection) -> None:
    built = manager(direction, logs=False)
    assert built.tracing.spawn_upstream_span.value
    assert upstream_logs(built) == []
    assert span_log.server_log() not in built.access_log
