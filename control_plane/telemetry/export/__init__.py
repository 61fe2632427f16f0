"""Telemetry passed on to an OTLP collector: split by sender, queued, batched and retried."""
