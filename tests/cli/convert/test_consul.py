"""Consul's config entries as ours: examples with goldens, and every field of the table.

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
from meshwright.cli.convert.consul.conversion import convert
from meshwright.cli.convert.consul.entries import entry_kind, read_entries
from meshwright.cli.convert.consul.fields import KINDS
from meshwright.cli.convert.consul.hcl import parse_hcl
from meshwright.cli.convert.conversion import Conversion
from meshwright.control_plane.api.yaml.parser import Position
from tests.cli.convert.examples import check_golden, nodes_below
from tests.cli.convert.mistakes import MISTAKES, check_mistake, check_mistakes_in_head, check_wrong_types

EXAMPLES = Path(__file__).parent / "consul"


def example(name: str) -> tuple[str, str]:
    return name, (EXAMPLES / name).read_text()


def converted(name: str) -> Conversion:
    return convert([example(name)])


@pytest.mark.parametrize("name", ["complete.hcl", "losses.hcl", "forms.yaml"])
def test_example_becomes_its_golden_and_valid_documents(name: str) -> None:
    check_golden(converted(name), EXAMPLES / f"{Path(name).stem}.golden")


def test_complete_example_loses_nothing() -> None:
    assert [str(remark) for remark in converted("complete.hcl").remarks if not remark.note] == []


def fields_of(name: str, kind: str) -> list[tuple[str, Position]]:
    entries = read_entries([example(name)])[0]
    named = [entry.node for entry in entries if entry_kind(entry.node.value) == kind]
    return [field for node in named for field in nodes_below(node)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_converted_field_is_in_the_complete_example(kind: str) -> None:
    assert set(KINDS[kind].converted) - {path for path, _ in fields_of("complete.hcl", kind)} == set()


@pytest.mark.parametrize("kind", KINDS)
def test_every_unsupported_field_is_named_at_its_position(kind: str) -> None:
    named = {(remark.line, remark.column) for remark in converted("losses.hcl").remarks if not remark.note}
    lost = [field for field in fields_of("losses.hcl", kind) if field[0] in KINDS[kind].unsupported]
    assert {path for path, _ in lost} == set(KINDS[kind].unsupported)
    assert [(path, position) for path, position in lost if tuple(position) not in named] == []


DOCUMENTS = [
    entry.node.value
    for path in sorted(EXAMPLES.glob("*.[hy]*"))
    for entry in read_entries([example(path.name)])[0]
]


@given(st.integers(0, len(DOCUMENTS) - 1), st.integers(0, 10_000), st.sampled_from(MISTAKES))
@settings(max_examples=100, deadline=None)
def test_a_mistake_anywhere_crashes_nothing_and_makes_no_invalid_document(
    number: int, place: int, mistake: Any
) -> None:
    check_mistake(convert, DOCUMENTS[number], place, mistake)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_value_of_another_type_is_named(document: Any) -> None:
    check_wrong_types(convert, document, {"meta"})


def test_a_mistake_where_the_kind_is_read_crashes_nothing() -> None:
    check_mistakes_in_head(convert, DOCUMENTS[0])


def test_table_is_in_the_documentation() -> None:
    assert reference.convert_page("consul").read_text() == table.page("consul")


def test_hcl_has_the_values_that_consul_reads() -> None:
    text = """
    # a comment
    a = "x \\"y\\"" // and another
    b { c = 1, d = -2.5; "e f" = [true, null,] }
    b { c = 2 }
    /* and
       another */
    text = <<-END
      one
        two
      END
    """
    nodes, problems = parse_hcl(text)
    assert (problems, [node.value for node in nodes]) == (
        [],
        [
            {
                "a": 'x "y"',
                "b": [{"c": 1, "d": -2.5, "e f": [True, None]}, {"c": 2}],
                "text": "one\n  two\n",
            }
        ],
    )
    assert nodes[0].children["text"][0] == Position(8, 5)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("a = ", (1, 5)),
        ("a\n", (2, 1)),
        ("a = 1\na = 2", (2, 1)),
        ("a {\n", (2, 1)),
        ('a = "x', (1, 5)),
        ("a = <<END\n", (1, 5)),
        ("a = [" + "[" * 100, (1, 69)),
        ('a = "\\q"', (1, 5)),
        ("= 1", (1, 1)),
        ("a = 1x", (1, 5)),
    ],
)
def test_what_is_no_hcl_is_named_at_its_position(text: str, position: tuple[int, int]) -> None:
    result = convert([("a.hcl", text)])
    assert [(remark.line, remark.column) for remark in result.invalid] == [position]


@given(st.text(alphabet='aK={}[]",;# \n\\1.<E-', max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    nodes, problems = parse_hcl(text)
    assert len(problems) <= 1 and not (nodes and problems)


def test_a_match_with_an_unknown_condition_is_left_out_and_named() -> None:
    route = '{ Match { HTTP { PathExcat = "/x" } } Destination { Service = "b" } }'
    text = f'Kind = "service-router"\nName = "a"\nRoutes = [{route}]'
    result = convert([("a.hcl", text)])
    assert [document["spec"]["rules"] for document in result.documents] == [
        [{"name": "others", "backendRefs": [{"name": "a"}]}]
    ]
    assert ["PathExcat" in remark.message for remark in result.remarks if not remark.note] == [True]
