"""Event metrics, in the process's default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

EVENTS = Counter("mesh_events_total", "Events that this control plane detected, by kind.", ["kind"])
DROPPED = Counter("mesh_events_dropped_total", "Events dropped because the store was unavailable for long.")
SUPPRESSED = Counter("mesh_events_suppressed_total", "Events not written because of the rate limit.")
SUBSCRIBERS = Gauge("mesh_event_subscribers", "Open event streams of the admin API.")
