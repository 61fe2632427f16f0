"""HTTP/2 as the mesh speaks it: isolated streams between sidecars, guarded connections towards strangers.

Sidecars carry the calls of many callers on one connection, so nothing that one call does may end or stall
it: a malformed message costs its stream, resets and small frames do not count as an attack, and all streams
together cannot use up the connection's window. Towards clients that the mesh does not trust, Envoy's guards
stay: there a connection belongs to whoever opened it (docs/decisions/0009-transport-between-sidecars.md).
"""

from __future__ import annotations

from datetime import timedelta

from meshwright.control_plane.envoy import v3

KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT = timedelta(seconds=30), timedelta(seconds=10)
"""Pings detect a peer that vanished: silent streams have no idle timeout that would."""

MAX_STREAMS, STREAM_WINDOW = 1024, 1 << 20
"""Streams of one connection between sidecars, and the bytes that each may have unread.

The connection's window is their product, 1 GiB, so stalled streams cannot use it up; HTTP/2 allows less than
2 GiB (RFC 9113, section 6.9.1). A caller opens another connection for more streams. A stream's window limits
one transfer to 1 MiB per round trip, and is what a stalled transfer costs in memory."""

CLIENT_STREAMS, CLIENT_STREAM_WINDOW = 100, 1 << 16
"""The same for clients of an ingress, from Envoy's "configuring Envoy as an edge proxy"."""

UNLIMITED = 2**32 - 1


def between_sidecars() -> v3.Http2ProtocolOptions:
    """HTTP/2 for clusters, inbound listeners, and the outbound listeners where apps call.

    Limits on frames and resets are lifted: many callers who give up or do not read would reach them together.
    nghttp2's own limit, 1000 resets at once and 33 a second, is one of them. The limit on premature resets is
    a runtime key of the process (sidecar/bootstrap/document.py).
    """
    unlimited, any_number = v3.UInt32Value(value=UNLIMITED), v3.UInt64Value(value=UNLIMITED)
    options = _options(MAX_STREAMS, STREAM_WINDOW)
    options.MergeFrom(
        v3.Http2ProtocolOptions(
            max_outbound_frames=unlimited,
            max_outbound_control_frames=unlimited,
            max_consecutive_inbound_frames_with_empty_payload=unlimited,
            max_inbound_priority_frames_per_stream=unlimited,
            max_inbound_window_update_frames_per_data_frame_sent=unlimited,
            stream_reset_burst=any_number,
            stream_reset_rate=any_number,
        )
    )
    return options


def towards_clients() -> v3.Http2ProtocolOptions:
    """HTTP/2 for listeners that strangers reach: the ingress, and plaintext to a permissive service."""
    return _options(CLIENT_STREAMS, CLIENT_STREAM_WINDOW)


def _options(streams: int, window: int) -> v3.Http2ProtocolOptions:
    """WebSocket by extended CONNECT (RFC 8441), pings, and stream errors as in RFC 9113, section 8.1.1."""
    return v3.Http2ProtocolOptions(
        allow_connect=True,
        max_concurrent_streams=v3.UInt32Value(value=streams),
        initial_stream_window_size=v3.UInt32Value(value=window),
        initial_connection_window_size=v3.UInt32Value(value=streams * window),
        override_stream_error_on_invalid_http_message=v3.BoolValue(value=True),
        connection_keepalive=v3.KeepaliveSettings(interval=KEEPALIVE_INTERVAL, timeout=KEEPALIVE_TIMEOUT),
    )
