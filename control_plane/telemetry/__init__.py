"""Telemetry of the mesh, from the OTLP port to the topology, traces and explanations of the API."""
