"""The joint OpenAPI document."""

from __future__ import annotations

from typing import Any

from openapi_spec_validator import validate

from meshwright.services.storefront.domain import join


def description(path: str) -> dict[str, Any]:
    """A service's document with one operation, whose schema `Box` holds a `Pen`."""

    def reference(name: str) -> dict[str, str]:
        return {"$ref": f"#/components/schemas/{name}"}

    response = {"description": "OK", "content": {"application/json": {"schema": reference("Box")}}}
    schemas = {"Box": {"type": "array", "items": reference("Pen")}, "Pen": {"type": "object"}}
    operation = {"operationId": path.replace("/", "_"), "responses": {"200": response}}
    return {"paths": {path: {"get": operation}}, "components": {"schemas": schemas}}


def test_joint_document_has_the_public_operations_with_schemas_of_their_own() -> None:
    parts = {"pens": "/api/pens", "pencils": "/api/pencils", "internal": "/reservations"}
    joint = join({name: description(path) for name, path in parts.items()}, "v1")
    validate(joint)
    assert list(joint["paths"]) == ["/api/pencils", "/api/pens"]
    assert joint["paths"]["/api/pens"]["get"]["tags"] == ["pens"]
    schemas = joint["components"]["schemas"]
    assert set(schemas) == {"pens.Box", "pens.Pen", "pencils.Box", "pencils.Pen"}
    assert schemas["pencils.Box"]["items"] == {"$ref": "#/components/schemas/pencils.Pen"}
