"""Policy files: exact positions and messages of problems, and no input that raises."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwright.control_plane.policies.loader import load, load_files
from meshwright.control_plane.policies.registry import example, kinds

RETRY = """\
apiVersion: meshwright.io/v1
kind: Retry
metadata:
  name: r
spec:
  targetRefs: [{kind: Mesh}]
"""
ROUTE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: h}
spec:
  parentRefs: [{kind: Service, name: a}]
"""


def lines(text: str | bytes, path: str = "p.yaml") -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    loaded = load(data, path)
    assert loaded.problems or loaded.documents
    return [str(problem) for problem in loaded.problems]


@pytest.mark.parametrize("kind", kinds())
def test_every_example_loads(kind: str) -> None:
    loaded = load(example(kind).encode(), "example.yaml")
    assert loaded.problems == ()
    (document,) = loaded.documents
    assert document.policy.kind == kind
    assert hash(document.policy.spec) == hash(load(example(kind).encode(), "again").documents[0].policy.spec)


ONE_LINE = [
    # YAML itself
    ("a: b: c\n", "1:5: not valid YAML: mapping values are not allowed here: check the indentation"),
    ("a:\n\tb: 1\n", "2:1: not valid YAML: while scanning for the next token found character '\\t'"),
    ('a: "b\n', "2:1: not valid YAML: while scanning a quoted scalar"),
    (RETRY + "  attempts: 1\n  attempts: 2\n", "8:3: 'attempts' occurs twice, first at 7:3: keep one"),
    (
        RETRY + "  attempts: !!python/object:os.system 1\n",
        "7:13: tag !!python/object:os.system is not",
    ),
    (RETRY + "  attempts: *x\n", "7:13: alias *x has no anchor before it"),
    (RETRY + "  1: x\n", "7:3: a field's name must be text: quote it"),
    (RETRY + "  ? [a]\n  : 1\n", "7:5: a field's name must be text: quote it"),
    ("a: \x07\n", "1:4: control character U+0007 in the text: "),
    # the file
    ("", "1:1: the file is empty"),
    ("# only words\n---\n---\n", "1:1: the file is empty"),
    (b"kind: \xff\n", "1:1: not text: byte 0xff at offset 6 is not UTF-8: save the file as UTF-8"),
    (b"\x00\x01", "1:1: control character U+0000"),
    # the document
    (
        "just words\n",
        "1:1: expected a document with apiVersion, kind, metadata and spec, got 'just words'",
    ),
    ("- a\n", "1:1: expected a document with apiVersion, kind, metadata and spec, got a list"),
    (
        "\n  metadata: {}\n",
        f"2:3: kind: missing: add one of {', '.join(kinds())}",
    ),
    ("kind: retries\n", "1:7: kind: 'retries' is unknown: did you mean Retry?"),
    ("kind: Pod\n", f"1:7: kind: 'Pod' is unknown: use one of {', '.join(kinds())}"),
    ("kind: [Retry]\n", "1:7: kind: a list is unknown: use one of"),
    (
        RETRY.replace("meshwright.io/v1", "v1"),
        "1:13: apiVersion: 'v1' is not allowed: use 'meshwright.io/v1'",
    ),
    (RETRY.replace("  name: r", "  labels: {}"), "4:3: metadata.name: missing: add it"),
    (
        RETRY.replace("name: r", "name: My_Retry"),
        "4:9: metadata.name: 'My_Retry' is not allowed: use lower-case letters, digits",
    ),
    (RETRY.replace("[{kind: Mesh}]", "[]"), "6:3: spec: targetRefs is missing, so the policy has no effect"),
    # fields
    (RETRY + "  attemps: 3\n", "7:3: spec.attemps: unknown field: did you mean attempts?"),
    (
        RETRY + "  zzz: 3\n",
        "7:3: spec.zzz: unknown field: the fields here are targetRefs, from, attempts, on, backoff",
    ),
    (
        RETRY + "zzz: {}\n",
        "7:1: zzz: unknown field: the fields here are apiVersion, kind, metadata, spec",
    ),
    (
        RETRY + '  attempts: "3"\n',
        "7:13: spec.attempts: expected a whole number, got '3': write one without",
    ),
    (RETRY + "  attempts: 1.5\n", "7:13: spec.attempts: expected a whole number, got 1.5"),
    (RETRY + "  attempts: true\n", "7:13: spec.attempts: expected a whole number, got true"),
    (RETRY + "  attempts:\n", "7:3: spec.attempts: expected a whole number, got nothing"),
    (RETRY + "  attempts: 11\n", "7:13: spec.attempts: 11 is too high: use at most 10"),
    (RETRY + "  on: reset\n", "7:7: spec.on: expected a list, got 'reset': write '- ' before each entry"),
    (
        RETRY + "  on: [reset, 99]\n",
        "7:15: spec.on[1]: 99 is not a valid condition: use a status from 400 to 599 or 5xx",
    ),
    (RETRY + "  on: [reset, reset]\n", "7:7: spec.on: a condition is listed twice: list each once"),
    (RETRY + "  budget: 20\n", "7:11: spec.budget: expected a mapping, got 20: write 'name: value' lines"),
    (RETRY + "  perTryTimeout: 3\n", "7:18: spec.perTryTimeout: not a duration: write it like 500ms"),
    (RETRY + "  backoff: {base: 1s, max: 1ms}\n", "7:12: spec.backoff: max is below base"),
    (RETRY + "  from: [orders, 7]\n", "7:18: spec.from[1]: expected text, got 7: quote it"),
    (
        RETRY.replace("{kind: Mesh}", "{kind: Servise, name: a}"),
        "6:23: spec.targetRefs[0].kind: 'Servise' is not",
    ),
    (
        RETRY.replace("{kind: Mesh}", "{kind: Mesh, name: a}"),
        "6:15: spec.targetRefs: a target of kind Mesh has a",
    ),
    (
        RETRY.replace("{kind: Mesh}", "{kind: Service}"),
        "6:15: spec.targetRefs: a target of kind Service has no",
    ),
    (
        RETRY.replace("{kind: Mesh}", "{kind: Gateway, name: a}"),
        "6:15: spec.targetRefs: Gateway is not a valid target",
    ),
    (
        ROUTE + "  rules:\n  - matches:\n    - path: {value: api}\n",
        "8:13: spec.rules[0].matches[0].path: path 'api' does not begin with a slash: write '/api'",
    ),
    (
        ROUTE + "  rules:\n  - backendRefs:\n    - name: a\n      wieght: 3\n",
        "9:7: spec.rules[0].backendRefs[0].wieght: unknown field: did you mean weight?",
    ),
    (
        ROUTE.replace("name: a}", "name: a, namespace: x}"),
        "5:52: spec.parentRefs[0].namespace: 'x' is not the route's namespace, and a mesh has only one",
    ),
]


@pytest.mark.parametrize(
    ("text", "expected"), ONE_LINE, ids=[expected.split(":")[2][1:40] for _, expected in ONE_LINE]
)
def test_load_one_problem_is_one_line_at_its_position(text: str | bytes, expected: str) -> None:
    (line,) = lines(text)
    assert line.startswith(f"p.yaml:{expected}")
    assert "\n" not in line


def test_load_reports_every_problem_in_order_of_position() -> None:
    text = RETRY.replace("name: r", "name: R") + "  attempts: x\n  foo: 1\n---\nkind: Nothing\n"
    assert [line.split(": ")[0] for line in lines(text)] == [
        "p.yaml:4:9",
        "p.yaml:7:13",
        "p.yaml:8:3",
        "p.yaml:10:7",
    ]


def test_load_returns_valid_documents_beside_problems() -> None:
    loaded = load(f"{RETRY}---\nkind: Nothing\n".encode(), "p")
    assert [document.policy.ref for document in loaded.documents] == ["Retry/r"]
    assert len(loaded.problems) == 1


def test_load_files_duplicate_name_reports_both_positions() -> None:
    loaded = load_files([("a.yaml", RETRY.encode()), ("b.yaml", b"# first\n" + RETRY.encode())])
    assert [str(problem) for problem in loaded.problems] == [
        "b.yaml:5:9: Retry/r is already defined at a.yaml:1:1: keep one"
    ]


def test_load_files_same_name_in_two_kinds_is_allowed() -> None:
    assert (
        load_files([("a", RETRY.encode()), ("b", ROUTE.replace("name: h", "name: r").encode())]).problems
        == ()
    )


def test_load_allowed_kinds_excludes_others() -> None:
    only = {"Retry": kinds()["Retry"]}
    assert load(RETRY.encode(), "p", only).problems == ()
    (problem,) = load(ROUTE.encode(), "p", only).problems
    assert str(problem) == "p:2:7: kind: 'HTTPRoute' is unknown: use one of Retry"


def test_load_list_of_invalid_entries_is_not_reported_as_too_short() -> None:
    (line,) = lines(ROUTE.replace("name: a", "name: A"))
    assert line.startswith("p.yaml:5:38: spec.parentRefs[0].name: 'A' is not allowed")


def test_position_points_to_the_value() -> None:
    (document,) = load(RETRY.encode(), "p").documents
    assert (document.line, document.column) == (1, 1)
    assert document.position("spec", "targetRefs", 0, "kind") == (6, 23)
    assert str(document.problem("no such service", "spec", "targetRefs")) == "p:6:15: no such service"
    assert document.raw["spec"] == {"targetRefs": [{"kind": "Mesh"}]}


def test_load_json_with_tabs_and_escapes() -> None:
    text = '{\n\t"apiVersion": "meshwright.io\\/v1", "kind": "Retry",\n\t"metadata": {"name": "r",'
    text += ' "labels": {"face": "\\ud83d\\ude00"}},\n\t"spec": {"targetRefs": [{"kind": "Mesh"}]}\n}\n'
    (document,) = load(text.encode(), "p.json").documents
    assert document.policy.metadata.labels == {"face": "\N{GRINNING FACE}"}
    assert lines(text.replace("\\ude00", ""), "p.json") == [
        "p.json:3:47: half of a surrogate pair: write both halves or neither"
    ]


def test_load_byte_order_mark_does_not_shift_positions() -> None:
    assert lines(b"\xef\xbb\xbfkind: Pod\n")[0].startswith("p.yaml:1:7: ")


def test_load_yaml_1_1_keymessage_are_text() -> None:
    text = RETRY.replace("  name: r", "  name: r\n  labels: {a: no, b: on, c: 012_3, d: 2026-11-21, e: 1:30}")
    (document,) = load(text.encode(), "p").documents
    assert document.policy.metadata.labels == {
        "a": "no",
        "b": "on",
        "c": "012_3",
        "d": "2026-11-21",
        "e": "1:30",
    }


def test_load_resolves_aliases() -> None:
    text = ROUTE + "  rules:\n  - backendRefs: &b [{name: a}]\n  - name: x\n    backendRefs: *b\n"
    (document,) = load(text.encode(), "p").documents
    assert document.raw["spec"]["rules"][1]["backendRefs"] == [{"name": "a"}]


def bomb(levels: int) -> str:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(6), "more than 100000 values: split the file"),
        (
            "\n".join(["a: &a 1", *(f"k{n}: *a" for n in range(101))]),
            "more than 100 aliases: write the values out",
        ),
        ("[" * 65 + "]" * 65, "nested deeper than 64 levels"),
        ("[" * 500_000, "nested deeper than 64 levels"),
        (
            "a: &a [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n"
            + "b: "
            + "[" * 40
            + "*a",
            "nested",
        ),
        ("a: &a {b: *a}", "alias *a has no anchor before it"),
    ],
)
def test_load_expansion_bombs_are_rejected_quickly(text: str, message: str) -> None:
    start = time.monotonic()
    assert any(message in line for line in lines(text))
    assert time.monotonic() - start < 10


def test_load_large_file_is_rejected_before_parsing() -> None:
    data = b"a: [" * (10 * 1024 * 1024 // 4)
    start = time.monotonic()
    assert lines(data) == ["p.yaml:1:1: the file is too large (10.0 MiB; the limit is 1 MiB): split it"]
    assert time.monotonic() - start < 5


def test_load_many_problems_are_capped() -> None:
    messages = lines(RETRY + "".join(f"  x{n}: 1\n" for n in range(500)))
    assert len(messages) == 101
    assert messages[-1].endswith("400 more problems follow: correct these first")


def test_load_messages_escape_control_characters() -> None:
    text = json.dumps({"kind": "Retry", "spec": {"a\n\x1b[31m": 1, "b" * 900: 1}})
    messages = lines(text, "p.json")
    assert any("spec.a\\n\\x1b[31m: unknown field" in line for line in messages)
    assert all(line.isprintable() and len(line) < 600 for line in messages)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_load_any_bytes_never_raises(data: bytes) -> None:
    for problem in load(data, "p").problems:
        assert problem.line >= 1
        assert problem.column >= 1
        str(problem).encode()


PIECES = (
    *("a", "kind", ": ", "\n", "\n  ", "- ", "{", "}", "[", "]", ", ", "&a ", "*a", "!", "!!str ", "!x "),
    *("'", '"', "\\", "\\U00110000", "\\x", "|", ">", "%YAML 1.1\n", "%YAML 9999.1\n", "%TAG ! x\n", "---\n"),
    *(
        "...\n",
        "# ",
        "? ",
        "0x",
        "9" * 30,
        "1e999",
        ".inf",
        "~",
        "\t",
        "\r",
        "\x85",
        "\u2028",
        "Retry",
        "<<",
        "@",
    ),
)


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_load_yaml_like_text_never_raises(text: str) -> None:
    for problem in load(text.encode(), "p").problems:
        assert str(problem).isprintable()


FIELDS = [
    "name",
    "kind",
    "targetRefs",
    "rules",
    "matches",
    "path",
    "value",
    "type",
    "labels",
    "on",
    "filters",
]
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(kinds())), _values, _values)
def test_load_any_document_shape_never_raises(kind: str, metadata: object, spec: object) -> None:
    text = json.dumps({"kind": kind, "apiVersion": "meshwright.io/v1", "metadata": metadata, "spec": spec})
    for problem in load(text.encode(), "p.json").problems:
        assert "pydantic" not in str(problem)
        assert "\n" not in str(problem)
