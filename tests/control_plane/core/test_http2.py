"""HTTP/2 between sidecars isolates streams; towards strangers Envoy's guards stay."""

from __future__ import annotations

from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core import http2, inbound
from meshwright.control_plane.core.views import ListenerSettings, NodeView
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.hooks import TransportMode
from tests.control_plane.core.worlds import body

LIMITS_ON_FRAMES_AND_RESETS = (
    "max_outbound_frames",
    "max_outbound_control_frames",
    "max_consecutive_inbound_frames_with_empty_payload",
    "max_inbound_priority_frames_per_stream",
    "max_inbound_window_update_frames_per_data_frame_sent",
    "stream_reset_burst",
    "stream_reset_rate",
)
TRUSTED, STRANGERS = http2.between_sidecars(), http2.towards_clients()


def test_unread_streams_cannot_use_up_the_window_of_their_connection() -> None:
    for options in (TRUSTED, STRANGERS):
        of_all_streams = options.max_concurrent_streams.value * options.initial_stream_window_size.value
        assert options.initial_connection_window_size.value >= of_all_streams


def test_windows_are_within_the_limit_of_http2() -> None:
    assert TRUSTED.initial_connection_window_size.value < 2**31  # RFC 9113, section 6.9.1


def test_a_malformed_message_costs_its_stream_only() -> None:
    assert TRUSTED.override_stream_error_on_invalid_http_message.value
    assert STRANGERS.override_stream_error_on_invalid_http_message.value


def test_sidecars_do_not_count_frames_and_resets_of_each_other() -> None:
    assert all(getattr(TRUSTED, name).value == http2.UNLIMITED for name in LIMITS_ON_FRAMES_AND_RESETS)


def test_guards_against_strangers_keep_envoys_defaults() -> None:
    assert not any(STRANGERS.HasField(name) for name in LIMITS_ON_FRAMES_AND_RESETS)


def _options_of_chains(mode: TransportMode) -> dict[str, v3.Http2ProtocolOptions]:
    view = NodeView("orders", (Port(name="http"),), mode, (), ListenerSettings("orders"))
    (listener,) = inbound.listeners(view, "127.0.0.1", 15006)
    return {
        chain.name: v3.HttpConnectionManager.FromString(
            chain.filters[0].typed_config.value
        ).http2_protocol_options
        for chain in body(listener).filter_chains
    }


def test_plaintext_of_a_permissive_service_is_guarded_and_mutual_tls_is_not() -> None:
    options = _options_of_chains(TransportMode.PERMISSIVE)
    assert options == {"http-plaintext": STRANGERS, "http-mtls": TRUSTED}


def test_plaintext_of_a_service_without_mutual_tls_isolates_its_callers() -> None:
    options = _options_of_chains(TransportMode.DISABLED)
    assert options == {"http-plaintext": TRUSTED, "http-mtls": TRUSTED}
