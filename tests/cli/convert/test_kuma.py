"""Kuma's documents as ours: examples with goldens, and every field of the table.

`UPDATE_GOLDEN=1` rewrites the goldens; look at them before you commit them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks import reference
from meshwright.cli.convert import table
from meshwright.cli.convert.conversion import Conversion
from meshwright.cli.convert.kuma.conversion import convert
from meshwright.cli.convert.kuma.kinds import KINDS
from meshwright.control_plane.api.yaml.parser import Position, parse_yaml
from tests.cli.convert.examples import check_golden, nodes_below
from tests.cli.convert.mistakes import MISTAKES, check_mistake, check_mistakes_in_head, check_wrong_types

EXAMPLES = Path(__file__).parent / "kuma"


def converted(name: str) -> Conversion:
    return convert([(f"{name}.yaml", (EXAMPLES / f"{name}.yaml").read_text())])


@pytest.mark.parametrize("name", ["complete", "losses"])
def test_example_becomes_its_golden_and_valid_documents(name: str) -> None:
    check_golden(converted(name), EXAMPLES / f"{name}.golden")


def test_complete_example_loses_nothing() -> None:
    assert [str(remark) for remark in converted("complete").remarks if not remark.note] == []


def fields_of(name: str, kind: str) -> list[tuple[str, Position]]:
    documents = parse_yaml((EXAMPLES / f"{name}.yaml").read_text())[0]
    named = [node for node in documents if kind in (node.value.get("type"), node.value.get("kind"))]
    return [field for node in named for field in nodes_below(node)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_converted_field_is_in_the_complete_example(kind: str) -> None:
    assert set(KINDS[kind].converted) - {path for path, _ in fields_of("complete", kind)} == set()


@pytest.mark.parametrize("kind", KINDS)
def test_every_unsupported_field_is_named_at_its_position(kind: str) -> None:
    named = {(remark.line, remark.column) for remark in converted("losses").remarks if not remark.note}
    lost = [field for field in fields_of("losses", kind) if field[0] in KINDS[kind].unsupported]
    assert {path for path, _ in lost} == set(KINDS[kind].unsupported)
    assert [(path, position) for path, position in lost if tuple(position) not in named] == []


DOCUMENTS = [
    node.value for path in sorted(EXAMPLES.glob("*.yaml")) for node in parse_yaml(path.read_text())[0]
]


@given(st.integers(0, len(DOCUMENTS) - 1), st.integers(0, 10_000), st.sampled_from(MISTAKES))
@settings(max_examples=100, deadline=None)
def test_a_mistake_anywhere_crashes_nothing_and_makes_no_invalid_document(
    number: int, place: int, mistake: Any
) -> None:
    check_mistake(convert, DOCUMENTS[number], place, mistake)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_value_of_another_type_is_named(document: Any) -> None:
    check_wrong_types(convert, document, {"labels"})


def test_a_mistake_where_the_kind_is_read_crashes_nothing() -> None:
    check_mistakes_in_head(convert, DOCUMENTS[0])


def test_table_is_in_the_documentation() -> None:
    assert reference.convert_page("kuma").read_text() == table.page("kuma")


@pytest.mark.parametrize(
    ("kind", "default", "expected"),
    [
        (
            "MeshRetry",
            "http: {numRetries: 1}",
            {"on": ["gateway-error", "connect-failure", "refused-stream"]},
        ),
        (
            "MeshRetry",
            'http: {retryOn: ["429"]}',
            {"on": ["gateway-error", "connect-failure", "refused-stream", 429]},
        ),
        (
            "MeshCircuitBreaker",
            "outlierDetection: {detectors: {totalFailures: {}}}",
            {"consecutiveFailures": 100_000},
        ),
    ],
)
def test_what_is_not_said_is_as_in_kuma(kind: str, default: str, expected: dict[str, Any]) -> None:
    to = f"to: [{{targetRef: {{kind: MeshService, name: a}}, default: {{{default}}}}}]"
    text = f"type: {kind}\nname: a\nmesh: default\nspec: {{targetRef: {{kind: Mesh}}, {to}}}\n"
    (document,) = convert([("a.yaml", text)]).documents
    assert expected.items() <= document["spec"].items()


def test_an_entry_without_a_target_and_a_second_document_of_a_name_are_named() -> None:
    text = "type: MeshTimeout\nname: a\nmesh: default\nspec: {to: [{default: {idleTimeout: 5s}}]}\n"
    remarks = [str(remark) for remark in convert([("a.yaml", f"{text}---\n{text}")]).remarks]
    assert remarks == [
        "a.yaml:4:13: spec.to[0] has no targetRef: it is not converted",
        "a.yaml:6:1: is the second MeshTimeout a: it is not converted",
    ]
