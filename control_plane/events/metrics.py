"""What is counted about events, in the process's registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

EVENTS = Counter("mesh_events_total", "Events that this control plane noticed, by kind.", ["kind"])
DROPPED = Counter("mesh_events_dropped_total", "Events dropped while the store was away for long.")
SUPPRESSED = Counter("mesh_events_folded_total", "Events left out because many of their kind came at once.")
SUBSCRIBERS = Gauge("mesh_event_listeners", "Open event streams of the admin API.")
