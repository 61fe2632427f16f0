"""Settings, metrics and the OpenAPI document of the kit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate
from pydantic import Field

from meshwright.services.hosting import openapi
from meshwright.services.hosting.metrics import ServiceMetrics
from meshwright.services.kit.operations import (
    BodyModel,
    Operation,
    OperationRequest,
    OperationResponse,
    QueryModel,
)
from meshwright.services.kit.service import BUCKETS
from meshwright.services.kit.settings import SettingsError, read_settings


class Pen(BodyModel):
    """Something to write with."""

    colour_name: str = Field(max_length=9)


class PenQuery(QueryModel):
    """The maximum number of pens."""

    limit: int = Field(5, ge=1)


async def unused(_: OperationRequest[Any, Any]) -> OperationResponse:
    raise AssertionError


def test_every_setting_has_a_default() -> None:
    settings = read_settings("orders", {}, 42)
    assert (settings.host, settings.port, settings.instance) == ("127.0.0.1", 0, "orders-42")
    assert settings.data_dir == Path(".data")


def test_settings_come_from_the_environment() -> None:
    environ = {"PORT": "8001", "SERVICE_VERSION": "v2", "INSTANCE": "orders-7", "DRAIN_SECONDS": "5"}
    settings = read_settings("orders", environ, 42)
    assert (settings.port, settings.version, settings.instance) == (8001, "v2", "orders-7")
    assert settings.drain_seconds == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "many"), ("PORT", "65536"), ("PORT", "-1"), ("PORT", "²"), ("LOG_LEVEL", "loud")],
)
def test_invalid_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        read_settings("orders", {name: value}, 1)


def test_metrics_have_the_names_and_labels_of_the_boards() -> None:
    metrics = ServiceMetrics("orders")
    metrics.connections_from(lambda: 3)
    metrics.observe("GET", "/api/orders/{orderId}", 200, 0.3)
    text = metrics.text().decode()
    labels = 'method="GET",route="/api/orders/{orderId}",status_code="200"'
    assert f"http_requests_total{{{labels}}} 1.0" in text
    assert f'http_request_duration_seconds_bucket{{le="0.5",{labels}}} 1.0' in text
    assert f'http_request_duration_seconds_bucket{{le="0.25",{labels}}} 0.0' in text
    assert 'active_connections{service="orders"} 3.0' in text
    assert {0.005, 0.1, 0.5, 1, 2, 5, 10} <= set(BUCKETS)


def test_unknown_methods_do_not_become_labels() -> None:
    metrics = ServiceMetrics("orders")
    metrics.observe("BREW", "unmatched", 404, 0.1)
    assert "BREW" not in metrics.text().decode()
    assert 'method="other"' in metrics.text().decode()


def test_openapi_document_is_valid_and_describes_the_operations() -> None:
    document = openapi.build_document(
        "pens",
        "v1",
        [
            Operation(
                "POST", "/pens/{penId}", "Add", unused, {201: Pen, 204: None}, body=Pen, needs_key=True
            ),
            Operation("GET", "/pens", "List", unused, {200: Pen}, query=PenQuery),
        ],
    )
    validate(document)
    post = document["paths"]["/pens/{penId}"]["post"]
    parameters = [(parameter["name"], parameter["in"]) for parameter in post["parameters"]]
    assert parameters == [("penId", "path"), ("Idempotency-Key", "header")]
    assert "colourName" in document["components"]["schemas"]["Pen"]["properties"]
    assert document["paths"]["/pens"]["get"]["parameters"][0]["schema"]["minimum"] == 1
    assert set(post["responses"]) == {"201", "204", "default"}
