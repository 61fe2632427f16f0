"""Metrics of pushes, in the process's default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

WAVE = Gauge("mesh_push_wave", "The wave of the push that this control plane leads; 0: none.")
ADMITTED = Gauge("mesh_push_admitted_proxies", "Proxies that get the revision on trial.")
AFFECTED = Gauge("mesh_push_affected_proxies", "Proxies that the revision on trial changes.")
ENDED = Counter("mesh_push_ended_total", "Pushes that this control plane ended, by outcome.", ["outcome"])
