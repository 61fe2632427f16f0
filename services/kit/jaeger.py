"""Spans to a Jaeger that does not take OTLP, as Thrift over HTTP (extra `jaeger`).

The exporter's last release asks the SDK for names that the SDK has dropped since; they are put back before
the import. Its HTTP client obeys HTTP_PROXY, which leads into the mesh; telemetry passes that by.
"""

from __future__ import annotations

import importlib
import warnings

from opentelemetry.sdk import environment_variables
from opentelemetry.sdk.trace.export import SpanExporter

_DROPPED = (
    "AGENT_HOST",
    "AGENT_PORT",
    "AGENT_SPLIT_OVERSIZED_BATCHES",
    "ENDPOINT",
    "PASSWORD",
    "TIMEOUT",
    "USER",
)


def create_exporter(endpoint: str, timeout: int) -> SpanExporter:
    """An exporter to `endpoint`, a URL; `timeout` in seconds. Raises ImportError without the extra."""
    for name in _DROPPED:
        full = f"OTEL_EXPORTER_JAEGER_{name}"
        if not hasattr(environment_variables, full):
            setattr(environment_variables, full, full)
    thrift = importlib.import_module("opentelemetry.exporter.jaeger.thrift")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = thrift.JaegerExporter(collector_endpoint=endpoint, timeout=timeout)
    transport = made._collector_http_client.http_transport
    if transport.using_proxy():
        transport.host, transport.port = transport.realhost, transport.realport
        transport.realhost = transport.realport = transport.proxy_auth = None
    assert isinstance(made, SpanExporter)  # noqa: S101  the package has no types
    return made
