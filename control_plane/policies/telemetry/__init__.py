"""Telemetry: tracing and access logs."""
