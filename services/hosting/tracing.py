"""OpenTelemetry: spans of served and sent requests, in the trace that the sidecar began.

Without an OTLP endpoint spans exist, so that logs and outgoing calls carry the trace, but are not exported.
The export bypasses HTTP_PROXY: the sidecar carries calls between services, not telemetry.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

from meshwright.services.hosting import jaeger

UNTRACED_PATHS = "^/health,^/metrics,^/openapi.json"
"""Paths whose requests get no span, in the form of OTEL_PYTHON_AIOHTTP_SERVER_EXCLUDED_URLS."""

EXPORT_SECONDS = 3.0
"""Maximum duration of one export. A process that stops while its collector is away exits this much later."""


URL_ATTRIBUTES = ("http.url", "http.target", "url.full", "url.original")
"""Attributes that hold a URL or a path, by OpenTelemetry's older and newer names."""


class QueryRemover(SpanProcessor):
    """Leaves query strings out of spans, as sidecars leave them out of theirs: they may hold secrets.

    The instrumentations give a span its URL when it starts.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        """Remove the query string."""
        attributes = span.attributes or {}
        for name in URL_ATTRIBUTES:
            if isinstance(url := attributes.get(name), str):
                span.set_attribute(name, url.partition("?")[0])
        if "url.query" in attributes:
            span.set_attribute("url.query", "")


def configure(
    service: str,
    instance: str,
    version: str,
    otlp_endpoint: str,
    jaeger_endpoint: str = "",
    *,
    keep_queries: bool = False,
) -> TracerProvider:
    """Set this process's tracer provider. Must run before the aiohttp application is created.

    Spans go to `jaeger_endpoint` (Thrift over HTTP) if given, else to `otlp_endpoint`, with the query strings
    of their URLs only if `keep_queries`. Raises ImportError when Jaeger is chosen without the extra `jaeger`.
    """
    provider = TracerProvider(
        resource=Resource.create(
            {"service.name": service, "service.instance.id": instance, "service.version": version}
        ),
        sampler=ParentBased(ALWAYS_ON),
        shutdown_on_exit=False,
    )
    exporter = _exporter(otlp_endpoint, jaeger_endpoint)
    if exporter is not None:
        if not keep_queries:
            provider.add_span_processor(QueryRemover())
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    AioHttpServerInstrumentor().instrument(tracer_provider=provider)
    return provider


def _exporter(otlp_endpoint: str, jaeger_endpoint: str) -> SpanExporter | None:
    if jaeger_endpoint:
        return jaeger.create_exporter(jaeger_endpoint, int(EXPORT_SECONDS))
    if not otlp_endpoint:
        return None
    return OTLPSpanExporter(
        otlp_endpoint,
        insecure=not otlp_endpoint.startswith("https://"),
        timeout=EXPORT_SECONDS,
        channel_options=(("grpc.enable_http_proxy", 0),),  # type: ignore[arg-type]  # values may be int
    )
