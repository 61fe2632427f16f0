"""Query strings stay out of the spans that services export."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from meshwright.services.hosting.tracing import QueryRemover
from meshwright.services.kit.settings import SettingsError, read_settings

SECRET = "token=s3cr3t&q=?x"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("http.url", f"http://shop/api?{SECRET}", "http://shop/api"),
        ("http.target", f"/api?{SECRET}", "/api"),
        ("url.full", f"https://shop/?{SECRET}", "https://shop/"),
        ("url.original", f"/api?{SECRET}", "/api"),
        ("url.query", SECRET, ""),
        ("http.method", "GET", "GET"),
        ("http.status_code", 200, 200),
    ],
)
def test_exported_span_has_no_query(name: str, value: str | int, expected: object) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(QueryRemover())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    attributes = {name: value, "shop.item": "a?b"}
    with provider.get_tracer("app").start_as_current_span("work", attributes=attributes):
        pass
    (exported,) = exporter.get_finished_spans()
    assert (exported.attributes or {}).get(name) == expected
    assert (exported.attributes or {})["shop.item"] == "a?b"


@pytest.mark.parametrize(("text", "expected"), [("", False), ("redact", False), ("Keep", True)])
def test_a_setting_keeps_queries(text: str, expected: bool) -> None:
    assert read_settings("shop", {"TRACES_QUERY_STRINGS": text}, 1).keep_queries is expected


def test_unknown_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="TRACES_QUERY_STRINGS: 'yes' is not valid: set redact or keep"):
        read_settings("shop", {"TRACES_QUERY_STRINGS": "yes"}, 1)
