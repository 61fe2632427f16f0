"""Documentation of the kinds, generated from their models: JSON Schema and text; and canonical documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies import duration
from meshwright.control_plane.policies.base import SERVER_METADATA, Policy, TargetedPolicy
from meshwright.control_plane.policies.validation_messages import suggestion

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Without titles from field names, and with durations as YAML writes them."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  the base class's signature
        return False

    def encode_default(self, dft: Any) -> Any:
        return duration.render(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def dump(policy: Policy) -> dict[str, Any]:
    """The document as plain JSON values: normalised, in the order of the model, without unset fields."""
    plain: dict[str, Any] = policy.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return plain


def schema(model: type[Policy]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind."""
    result = _model_schema(model)
    result["properties"]["status"] = {"description": "Ignored."}
    metadata = _resolve(result, result["properties"]["metadata"])
    metadata["properties"] |= {name: {"description": "Ignored."} for name in sorted(SERVER_METADATA)}
    return result


def schema_of_any(models: Iterable[type[Policy]]) -> dict[str, Any]:
    """One JSON Schema for documents of these kinds, whose field `kind` says which schema counts.

    Editors get better messages from a condition for each kind than from `oneOf`, which names no branch.
    """
    definitions: dict[str, Any] = {}
    conditions = []
    names = []
    for model in models:
        names.append(kind := model.__name__)
        text = json.dumps(schema(model)).replace('"#/$defs/', f'"#/$defs/{kind}.')
        part = json.loads(text)
        del part["$schema"]
        definitions |= {f"{kind}.{name}": value for name, value in part.pop("$defs", {}).items()}
        definitions[kind] = part
        conditions.append(
            {"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/{kind}"}}
        )
    return {
        "$schema": DIALECT,
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {"kind": {"enum": names}},
        "allOf": conditions,
        "$defs": definitions,
    }


def _model_schema(model: type[Policy]) -> dict[str, Any]:
    """The JSON Schema without the fields of Kubernetes' API server, which are ignored."""
    result = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    if issubclass(model, TargetedPolicy):  # what TargetedPolicy validates beyond field types
        spec = result["$defs"][f"{model.__name__}Spec"]
        spec["required"] = ["targetRefs", *spec.get("required", ())]
        spec["properties"]["targetRefs"]["minItems"] = 1
        del spec["properties"]["targetRefs"]["default"]
    return {"$schema": DIALECT, **result}


def explain(model: type[Policy], example: str) -> str:
    """What the kind does, its fields with type, default and description, and an example, as plain text."""
    root = _model_schema(model)
    lines = [f"{model.__name__}: {root['description']}", "", "Fields:"]
    lines += _field_lines(root, root)
    return "\n".join([*lines, "", "Example:", *(f"  {line}" for line in example.splitlines())]) + "\n"


def explain_field(model: type[Policy], path: str) -> str:
    """What the field at a path such as `spec.rules` is, and the fields below it; raises InputError."""
    root = _model_schema(model)
    part, field, required, at = root, root, True, model.__name__
    for name in path.replace("[]", "").split("."):
        properties = part.get("properties", {})
        if name not in properties:
            advice = suggestion(name, properties, f"the fields here are {', '.join(properties) or 'none'}")
            raise InputError(f"{at}.{name}: unknown field: {advice}")
        field, required, at = properties[name], name in part.get("required", ()), f"{at}.{name}"
        part = _resolve(root, field)
        if part.get("type") == "array":
            part, at = _resolve(root, part["items"]), f"{at}[]"
    below = list(_field_lines(root, part))
    lines = [*_lines(root, at, field, required=required), *(["", "Fields:"] if below else []), *below]
    return "\n".join(lines) + "\n"


def _field_lines(root: dict[str, Any], parent: dict[str, Any]) -> Iterator[str]:
    """What each field below a part of the schema is, indented."""
    for path, field, required in _fields(root, parent, "", {}):
        yield from (f"  {line}" for line in _lines(root, path, field, required=required))


def _lines(root: dict[str, Any], path: str, field: dict[str, Any], *, required: bool) -> Iterator[str]:
    """What a field is: its type and default, and its description."""
    notes = [_type(root, field), "required" if required else _default(field)]
    yield f"{path}  ({', '.join(note for note in notes if note)})"
    if "description" in field:
        yield f"    {field['description']}"


def _fields(
    root: dict[str, Any], parent: dict[str, Any], prefix: str, seen: dict[int, str]
) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Each field below a part of the schema: its path, its schema, whether it is required.

    `seen` maps the object schemas already described to their path: they are not described again.
    """
    for name, field in parent.get("properties", {}).items():
        inner = _resolve(root, field)
        path = f"{prefix}{name}"
        if inner.get("type") == "array":
            inner = _resolve(root, inner["items"])
            path += "[]"
        first = seen.setdefault(id(inner), path) if "properties" in inner else path
        described = field
        if first != path:
            described = {**field, "description": f"Like {first}: {field['description']}"}
        yield path, described, name in parent.get("required", ())
        if first == path:
            yield from _fields(root, inner, f"{path}.", seen)


def _default(field: dict[str, Any]) -> str:
    """The default of a field, if it adds to the defaults of the field's own fields."""
    default = field.get("default")
    plain = bool(default) and not isinstance(default[0] if isinstance(default, list) else default, dict)
    return f"default {json.dumps(default)}" if plain or default == 0 else ""


def _resolve(root: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference or an optional value stands for."""
    options = [option for option in part.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        return _resolve(root, options[0])
    if "$ref" in part:
        definition: dict[str, Any] = root["$defs"][part["$ref"].rpartition("/")[2]]
        return definition
    return part


def _type(root: dict[str, Any], field: dict[str, Any]) -> str:
    """The type of a field in words."""
    inner = _resolve(root, field)
    if "anyOf" in inner:
        return " | ".join(_type(root, option) for option in inner["anyOf"])
    if "const" in inner or "enum" in inner:
        return " | ".join(str(value) or "''" for value in inner.get("enum", [inner.get("const")]))
    if inner.get("pattern") == duration.PATTERN:
        return "duration"
    if isinstance(inner.get("type"), list):
        return " | ".join(_type(root, {"type": name}) for name in inner["type"])
    if inner.get("type") == "array" and "items" in inner:
        return f"list of {_type(root, inner['items'])}"
    if inner.get("type") == "object":
        return "mapping"
    names = {"string": "text", "integer": "whole number", "array": "list"}
    bounds = [str(inner[key]) for key in ("minimum", "maximum") if key in inner]
    name = names.get(inner["type"], inner["type"])
    return f"{name} {' to '.join(bounds)}" if len(bounds) == 2 else str(name)
