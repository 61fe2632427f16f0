"""The OpenAPI 3.1 document of a service, made from its operations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from apispec import APISpec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from meshwright.services.kit.operations import ID_PATTERN, ErrorBody, Operation

REFERENCE = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"{(\w+)}")


def build_document(service: str, version: str, operations: Iterable[Operation]) -> dict[str, Any]:
    """Everything a client may know of a service, as plain JSON values."""
    listed = list(operations)
    spec = APISpec(title=service, version=version, openapi_version="3.1.0")
    for name, schema in _schemas(listed).items():
        spec.components.schema(name, schema)
    for operation in listed:
        spec.path(path=operation.path, operations={operation.method.lower(): _operation(operation)})
    made: dict[str, Any] = spec.to_dict()
    return made


def _schemas(operations: list[Operation]) -> Mapping[str, Any]:
    bodies = {operation.body for operation in operations if operation.body}
    answers = {model for operation in operations for model in operation.responses.values() if model}
    wanted = [(model, "validation") for model in bodies] + [
        (model, "serialization") for model in answers - bodies
    ]
    ordered = sorted(wanted, key=lambda pair: pair[0].__name__)
    _, made = models_json_schema([*ordered, (ErrorBody, "serialization")], ref_template=REFERENCE)  # type: ignore[list-item]
    return dict(sorted(made["$defs"].items()))


def _operation(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', operation.path)}",
        "responses": {str(status): _answer(status, model) for status, model in operation.responses.items()},
    }
    made["responses"]["default"] = {"description": "Any other error", **_content(ErrorBody)}
    parameters = [*_path(operation.path), *_query(operation.query), *_headers(operation)]
    if parameters:
        made["parameters"] = parameters
    if operation.body:
        made["requestBody"] = {"required": True, **_content(operation.body)}
    return made


def _answer(status: int, model: type[BaseModel] | None) -> dict[str, Any]:
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
