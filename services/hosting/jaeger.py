"""Exports spans to a Jaeger without OTLP, as Thrift over HTTP (extra `jaeger`).

opentelemetry-exporter-jaeger 1.11.1 is the last release that installs beside the exporter of OTLP. It needs
names that the SDK no longer has; they are restored before the import. Its HTTP client obeys HTTP_PROXY, which
leads into the mesh; telemetry must bypass that.
"""

from __future__ import annotations

import importlib
import warnings

from opentelemetry.sdk import environment_variables
from opentelemetry.sdk.trace.export import SpanExporter

_REMOVED_NAMES = (
    "AGENT_HOST",
    "AGENT_PORT",
    "AGENT_SPLIT_OVERSIZED_BATCHES",
    "ENDPOINT",
    "PASSWORD",
    "TIMEOUT",
    "USER",
)


def create_exporter(endpoint: str, timeout: int) -> SpanExporter:
    """An exporter to the URL `endpoint`; `timeout` in seconds. Raises ImportError without the extra."""
    for name in _REMOVED_NAMES:
        variable = f"OTEL_EXPORTER_JAEGER_{name}"
        if not hasattr(environment_variables, variable):
            setattr(environment_variables, variable, variable)
    thrift = importlib.import_module("opentelemetry.exporter.jaeger.thrift")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        exporter = thrift.JaegerExporter(collector_endpoint=endpoint, timeout=timeout)
    transport = exporter._collector_http_client.http_transport
    if transport.using_proxy():
        transport.host, transport.port = transport.realhost, transport.realport
        transport.realhost = transport.realport = transport.proxy_auth = None
    assert isinstance(exporter, SpanExporter)  # noqa: S101  the package has no types
    return exporter
