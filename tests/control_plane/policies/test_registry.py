"""The kinds: found by folder, every field documented, documents normalised and dumped unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from meshwright.control_plane import policies
from meshwright.control_plane.policies.base import Policy
from meshwright.control_plane.policies.model_fields import field_names, model_at
from meshwright.control_plane.policies.registry import example, kinds
from meshwright.control_plane.policies.schema import dump, explain, schema


def example_body(kind: str) -> dict[str, Any]:
    plain: dict[str, Any] = YAML(typ="safe", pure=True).load(example(kind))
    return plain


def test_kinds_finds_every_folder() -> None:
    folders = {path.parent.name for path in Path(policies.__path__[0]).glob("*/spec.py")}
    assert {kind.lower() for kind in kinds()} == folders >= {"gateway", "httproute", "retry"}
    assert list(kinds()) == sorted(kinds())
    assert all(issubclass(kind, Policy) for kind in kinds().values())
    orders = [kind.order for kind in kinds().values()]
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize("kind", kinds())
def test_folder_of_a_kind_is_complete(kind: str) -> None:
    folder = Path(policies.__path__[0]) / kind.lower()
    files = {path.name for path in folder.iterdir()}
    assert files >= {"__init__.py", "spec.py", "example.yaml", "golden.diff"}


@pytest.mark.parametrize("kind", kinds())
def test_schema_accepts_the_example_and_rejects_other_fields(kind: str) -> None:
    validator = jsonschema.Draft202012Validator(schema(kinds()[kind]))
    validator.check_schema(validator.schema)
    document = example_body(kind)
    validator.validate(document)
    assert not validator.is_valid({**document, "extra": 1})
    assert not validator.is_valid({**document, "kind": "Other"})
    assert not validator.is_valid({**document, "spec": {**document["spec"], "extra": 1}})


def parts(schema: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(schema, list):
        return [part for item in schema for part in parts(item, path)]
    if not isinstance(schema, dict):
        return []
    fields = [(f"{path}.{name}", field) for name, field in schema.get("properties", {}).items()]
    return fields + [part for key, value in schema.items() for part in parts(value, f"{path}/{key}")]


@pytest.mark.parametrize("kind", kinds())
def test_schema_describes_every_field(kind: str) -> None:
    fields = parts(schema(kinds()[kind]))
    assert len(fields) > 5
    assert [path for path, field in fields if not field.get("description")] == []


def test_schema_defaults_are_written_as_in_yaml() -> None:
    assert schema(kinds()["Retry"])["$defs"]["RetryBackoff"]["properties"]["max"]["default"] == "250ms"


def test_schema_requires_target_refs() -> None:
    document = example_body("Retry")
    validator = jsonschema.Draft202012Validator(schema(kinds()["Retry"]))
    assert not validator.is_valid({**document, "spec": {**document["spec"], "targetRefs": []}})
    assert not validator.is_valid({**document, "spec": {}})


@pytest.mark.parametrize("kind", kinds())
def test_explain_lists_every_field_and_ends_with_the_example(kind: str) -> None:
    text = explain(kinds()[kind], example(kind))
    assert text.startswith(f"{kind}: ")
    assert "pydantic" not in text
    model = model_at(kinds()[kind], ["spec"])
    assert model is not None
    for name in field_names(model):
        assert f"\n  spec.{name}" in text
    tail = text[text.index("Example:\n") + 9 :]
    assert YAML(typ="safe", pure=True).load(tail) == example_body(kind)


def test_explain_includes_types_defaults_and_bounds() -> None:
    text = explain(kinds()["Retry"], example("Retry"))
    assert "  spec.attempts  (whole number 0 to 10, default 2)\n" in text
    assert "  spec.perTryTimeout  (duration)\n" in text
    assert "  spec.targetRefs[].kind  (Mesh | Service | HTTPRoute" in text


@pytest.mark.parametrize("kind", kinds())
def test_dump_returns_the_example(kind: str) -> None:
    policy = kinds()[kind].model_validate(example_body(kind))
    assert dump(policy) == example_body(kind)
    again = kinds()[kind].model_validate(json.loads(json.dumps(dump(policy))))
    assert again == policy
    assert hash(again.spec) == hash(policy.spec)


def test_dump_normalises_the_document() -> None:
    policy = kinds()["Timeout"].model_validate(
        {
            "kind": "Timeout",
            "apiVersion": "meshwright.io/v1",
            "spec": {"request": "120s", "targetRefs": [{"kind": "Mesh"}]},
            "metadata": {"name": "t"},
        }
    )
    assert json.dumps(dump(policy)) == (
        '{"apiVersion": "meshwright.io/v1", "kind": "Timeout", "metadata": {"name": "t"}, '
        '"spec": {"targetRefs": [{"kind": "Mesh"}], "request": "2m"}}'
    )


def test_subset_labels_are_a_mapping_in_yaml_and_sorted_pairs_in_memory() -> None:
    document = example_body("Subset")
    document["spec"]["labels"] = {"version": "v2", "area": "eu"}
    policy = kinds()["Subset"].model_validate(document)
    assert policy.spec.labels == (("area", "eu"), ("version", "v2"))
    assert dump(policy)["spec"]["labels"] == {"area": "eu", "version": "v2"}
    assert hash(policy.spec) == hash(kinds()["Subset"].model_validate(dump(policy)).spec)


def test_validating_and_printing_schemas_does_not_load_envoys_messages() -> None:
    code = """
import sys
from meshwright.control_plane.policies import registry, schema
from meshwright.control_plane.policies.loader import load
for kind, model in registry.kinds().items():
    schema.schema(model)
    assert load(registry.example(kind).encode(), kind).documents
print("google.protobuf" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
