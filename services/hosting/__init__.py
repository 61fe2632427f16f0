"""Runs a service's process: HTTP with its contract, health, metrics, traces, logs, database, shutdown."""
