"""The OpenAPI 3.1 document of the admin API, built from its routes and their models."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from apispec import APISpec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from meshwright.control_plane.admin.errors import STATUSES
from meshwright.control_plane.admin.route import NoBody, Route
from meshwright.control_plane.api.models.errors import ErrorResponse

_REF = "#/components/schemas/{model}"
_EVERY_ROUTE = (400, 401, 403)
_WITH_BODY = (413,)
_DESCRIPTIONS = {status: code for code, status in STATUSES.items()} | {422: "invalid documents"}


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The whole document as plain JSON."""
    routes = tuple(routes)
    spec = APISpec(
        title="Meshwright admin API",
        version=version,
        openapi_version="3.1.0",
        info={
            "description": "Policies, revisions and the state of a mesh. Every call needs a bearer token: "
            "the admin token, or, for read-only routes, the read-only token."
        },
        security=[{"admin": []}],
    )
    for token in ("admin", "readOnly"):
        spec.components.security_scheme(token, {"type": "http", "scheme": "bearer"})
    references = _add_schemas(spec, routes)
    for route in routes:
        spec.path(route.full_path, operations={route.method.lower(): _operation(route, references)})
    result: dict[str, Any] = spec.to_dict()
    return result


def _add_schemas(spec: APISpec, routes: Iterable[Route]) -> dict[tuple[type[BaseModel], str], dict[str, Any]]:
    """Add all models to the components; returns the reference of each model in each mode."""
    models: dict[tuple[type[BaseModel], Any], None] = {(ErrorResponse, "serialization"): None}
    for route in routes:
        models[(route.response, "serialization")] = None
        if route.body is not NoBody:
            models[(route.body, "validation")] = None
    references, definitions = models_json_schema(list(models), ref_template=_REF)
    for name, schema in definitions.get("$defs", {}).items():
        spec.components.schema(name, schema)
    return {(model, mode): dict(schema) for (model, mode), schema in references.items()}  # type: ignore[misc]


def _operation(route: Route, references: dict[tuple[type[BaseModel], str], dict[str, Any]]) -> dict[str, Any]:
    errors = {*_EVERY_ROUTE, *route.errors, *(_WITH_BODY if route.body is not NoBody else ())}
    error = _json(references[(ErrorResponse, "serialization")])
    responses = {
        str(status): {"description": _DESCRIPTIONS[status], "content": error} for status in sorted(errors)
    }
    content = _json(references[(route.response, "serialization")])
    if route.stream:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    responses["200"] = {"description": route.summary, "content": content}
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "description": (route.handler.__doc__ or route.summary).strip(),
        "parameters": _parameters(route),
        "responses": responses,
    }
    if route.read_only:
        operation["security"] = [{"admin": []}, {"readOnly": []}]
    if route.body is not NoBody:
        body = _json(references[(route.body, "validation")])
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    schema = route.params.model_json_schema()
    required = schema.get("required", ())
    in_path = set(re.findall(r"{(\w+)}", route.path))
    return [
        {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in in_path or name in required,
            "schema": _parameter_schema(field),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _parameter_schema(field: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without `null`: an optional parameter is omitted, never null."""
    choices = [choice for choice in field.get("anyOf", ()) if choice.get("type") != "null"]
    rest = {key: value for key, value in field.items() if key not in {"anyOf", "default"} or not choices}
    return {**rest, **(choices[0] if choices else {})}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
