"""Requests that sidecars logged, and why they failed: records, call paths and responsible policies. Pure."""
