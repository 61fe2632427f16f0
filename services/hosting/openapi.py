"""The OpenAPI 3.1 document of a service, built from its operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from apispec import APISpec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from meshwright.services.kit.ids import ID_PATTERN
from meshwright.services.kit.operations import ErrorBody, Operation

REFERENCE = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"{(\w+)}")


def build_document(service: str, version: str, operations: Iterable[Operation]) -> dict[str, Any]:
    """The document as JSON values."""
    operations = list(operations)
    spec = APISpec(title=service, version=version, openapi_version="3.1.0")
    for name, schema in _schemas(operations).items():
        spec.components.schema(name, schema)
    for operation in operations:
        spec.path(path=operation.path, operations={operation.method.lower(): _operation(operation)})
    document: dict[str, Any] = spec.to_dict()
    return document


def _schemas(operations: list[Operation]) -> Mapping[str, Any]:
    bodies = {operation.body for operation in operations if operation.body}
    responses = {model for operation in operations for model in operation.responses.values() if model}
    models = [(model, "validation") for model in bodies] + [
        (model, "serialization") for model in responses - bodies
    ]
    ordered = sorted(models, key=lambda pair: pair[0].__name__)
    _, schemas = models_json_schema([*ordered, (ErrorBody, "serialization")], ref_template=REFERENCE)  # type: ignore[list-item]
    return dict(sorted(schemas["$defs"].items()))


def _operation(operation: Operation) -> dict[str, Any]:
    document: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', operation.path)}",
        "responses": {str(status): _response(status, model) for status, model in operation.responses.items()},
    }
    document["responses"]["default"] = {"description": "Any other error", **_content(ErrorBody)}
    parameters = [*_path(operation.path), *_query(operation.query), *_headers(operation)]
    if parameters:
        document["parameters"] = parameters
    if operation.body:
        document["requestBody"] = {"required": True, **_content(operation.body)}
    return document


def _response(status: int, model: type[BaseModel] | None) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, **(_content(model) if model else {})}


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}}}


def _path(path: str) -> list[dict[str, Any]]:
    schema = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
    return [
        {"name": name, "in": "path", "required": True, "schema": schema} for name in _PARAMETER.findall(path)
    ]


def _query(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    properties = model.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def _headers(operation: Operation) -> list[dict[str, Any]]:
    if not operation.needs_key:
        return []
    schema = {"type": "string", "minLength": 1, "maxLength": 255}
    return [{"name": "Idempotency-Key", "in": "header", "required": True, "schema": schema}]
