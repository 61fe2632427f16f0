"""Documentation of the kinds, made from their models: JSON Schema, text for people, documents as written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from meshwright.control_plane.policies import duration
from meshwright.control_plane.policies.base import Policy, TargetedPolicy
from meshwright.control_plane.policies.registry import example, kinds

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Without titles made from field names, and with durations as they are written."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  the base class's signature
        return False

    def encode_default(self, dft: Any) -> Any:
        return duration.render(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def dump(policy: Policy) -> dict[str, Any]:
    """What the user wrote, normalised: plain JSON values, fields in the order of the model, nothing unset."""
    plain: dict[str, Any] = policy.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return plain


def schema(kind: str) -> dict[str, Any]:
    """The kind's JSON Schema (draft 2020-12); raises KeyError for an unknown kind."""
    model = kinds()[kind]
    made = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    if issubclass(model, TargetedPolicy):  # what TargetedPolicy checks beyond its fields' types
        spec = made["$defs"][f"{kind}Spec"]
        spec["required"] = ["targetRefs", *spec.get("required", ())]
        spec["properties"]["targetRefs"]["minItems"] = 1
        del spec["properties"]["targetRefs"]["default"]
    return {"$schema": DIALECT, **made}


def explain(kind: str) -> str:
    """What the kind does, its fields with type, default and meaning, and an example, as plain text.

    Raises KeyError for an unknown kind.
    """
    whole = schema(kind)
    lines = [f"{kind}: {whole['description']}", "", "Fields:"]
    for path, part, required in _fields(whole, whole, "", {}):
        notes = [_type(whole, part), "required" if required else _default(part)]
        lines.append(f"  {path}  ({', '.join(note for note in notes if note)})")
        if "description" in part:
            lines.append(f"      {part['description']}")
    return "\n".join([*lines, "", "Example:", *(f"  {line}" for line in example(kind).splitlines())]) + "\n"


def _fields(
    whole: dict[str, Any], part: dict[str, Any], above: str, seen: dict[int, str]
) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Each field below a part of the schema: its path, its own part, whether it must be given.

    `seen` has the mappings that were described already, by their place: they are not described again.
    """
    for name, field in part.get("properties", {}).items():
        inner = _resolved(whole, field)
        path = f"{above}{name}"
        if inner.get("type") == "array":
            inner = _resolved(whole, inner["items"])
            path += "[]"
        first = seen.setdefault(id(inner), path) if "properties" in inner else path
        about = field if first == path else {**field, "description": f"Like {first}: {field['description']}"}
        yield path, about, name in part.get("required", ())
        if first == path:
            yield from _fields(whole, inner, f"{path}.", seen)


def _default(part: dict[str, Any]) -> str:
    """The default of a field in words, where it says more than its parts' defaults do."""
    default = part.get("default")
    plain = bool(default) and not isinstance(default[0] if isinstance(default, list) else default, dict)
    return f"default {json.dumps(default)}" if plain or default == 0 else ""


def _resolved(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The part that a reference or an optional value stands for."""
    options = [option for option in part.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        return _resolved(whole, options[0])
    if "$ref" in part:
        found: dict[str, Any] = whole["$defs"][part["$ref"].rpartition("/")[2]]
        return found
    return part


def _type(whole: dict[str, Any], part: dict[str, Any]) -> str:
    """The type of a field in words."""
    inner = _resolved(whole, part)
    if "anyOf" in inner:
        return " | ".join(_type(whole, option) for option in inner["anyOf"])
    if "const" in inner or "enum" in inner:
        return " | ".join(str(word) or "''" for word in inner.get("enum", [inner.get("const")]))
    if inner.get("pattern") == duration.PATTERN:
        return "duration"
    if inner.get("type") == "array":
        return f"list of {_type(whole, inner['items'])}"
    if inner.get("type") == "object":
        return "mapping"
    words = {"string": "text", "integer": "whole number"}
    bounds = [str(inner[key]) for key in ("minimum", "maximum") if key in inner]
    text = words.get(inner["type"], inner["type"])
    return f"{text} {' to '.join(bounds)}" if len(bounds) == 2 else str(text)
