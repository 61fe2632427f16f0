"""Joins the OpenAPI documents of the services into one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PUBLIC = "/api/"
"""Prefix of the paths that the ingress leads to. Others are for services only."""

_SCHEMAS = "#/components/schemas/"


def join(documents: Mapping[str, Mapping[str, Any]], version: str) -> dict[str, Any]:
    """One document of all public operations, by the services' documents.

    Operations are tagged with their service. Schemas are called `service.Schema`, so that none collide.
    """
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for service, document in documents.items():
        public = {path: item for path, item in document["paths"].items() if path.startswith(PUBLIC)}
        for path, item in public.items():
            operations = {method: {**value, "tags": [service]} for method, value in item.items()}
            paths.setdefault(path, {}).update(_prefixed(operations, service))
        defined = document.get("components", {}).get("schemas", {}) if public else {}
        schemas.update({f"{service}.{name}": _prefixed(schema, service) for name, schema in defined.items()})
    return {
        "openapi": "3.1.0",
        "info": {"title": "exchange", "version": version},
        "tags": [{"name": service} for service in documents],
        "security": [{"token": []}, {}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _prefixed(value: Any, service: str) -> Any:
    """A JSON value whose references lead to the schemas of a service."""
    if isinstance(value, list):
        return [_prefixed(item, service) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: f"{_SCHEMAS}{service}.{item.removeprefix(_SCHEMAS)}"
        if key == "$ref" and isinstance(item, str)
        else _prefixed(item, service)
        for key, item in value.items()
    }
