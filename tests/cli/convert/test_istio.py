"""Istio's documents as ours: examples with goldens, every field of the table, the order of rules.

`UPDATE_GOLDEN=1` rewrites the goldens; look at them before you commit them.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks import reference
from meshwright.cli.convert import table
from meshwright.cli.convert.conversion import Conversion
from meshwright.cli.convert.istio.conversion import convert
from meshwright.cli.convert.istio.kinds import KINDS, KUBERNETES
from meshwright.cli.convert.istio.precedence import RuleMatches, SourcedMatch, keep_order, match_rank
from meshwright.cli.convert.reading import Source, Value, schema_path
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.control_plane.api.yaml.parser import YamlNode, parse_yaml
from tests.cli.conftest import RunMesh
from tests.cli.convert.examples import check_golden
from tests.cli.convert.mistakes import MISTAKES, check_mistake, check_mistakes_in_head, check_wrong_types

EXAMPLES = Path(__file__).parent / "istio"
COMPLETE = ("routing", "gateways", "destinations", "security", "entries", "kubernetes")
"""Examples that are converted without a loss. Together they have every field that is converted."""

LISTS = {
    "VirtualService": ("http", "match", "route", "mirrors", "tcp", "tls"),
    "DestinationRule": ("subsets",),
    "AuthorizationPolicy": ("rules", "from", "to", "when"),
    "RequestAuthentication": ("jwtRules",),
    "PeerAuthentication": (),
    "Gateway": ("servers",),
    "ServiceEntry": ("endpoints",),
    "Telemetry": ("tracing", "accessLogging"),
    "Sidecar": ("egress",),
    "Service": ("ports",),
    "Ingress": ("rules", "paths"),
    "IngressClass": (),
}
SPECS: dict[str, dict[str, Any]] = {
    "VirtualService": {"hosts": ["orders"]},
    "DestinationRule": {"host": "orders"},
    "RequestAuthentication": {"selector": {"matchLabels": {"app": "orders"}}},
    "ServiceEntry": {"hosts": ["api.example.com"], "ports": [{"number": 443, "protocol": "HTTPS"}]},
    "Service": {"selector": {"app": "orders"}, "ports": [{"port": 80}]},
}
"""What a spec needs so that its other fields are read."""

RULES: dict[str, dict[str, Any]] = {
    "VirtualService": {"route": [{"destination": {"host": "orders"}}]},
    "RequestAuthentication": {"issuer": "https://a.example", "jwksUri": "https://a.example/jwks.json"},
    "Gateway": {"port": {"number": 80, "protocol": "HTTP"}, "hosts": ["*"]},
    "ServiceEntry": {"address": "10.0.0.1"},
    "Service": {"port": 80},
}
"""The same for its rules."""


def converted(name: str) -> Conversion:
    return convert([(f"{name}.yaml", (EXAMPLES / f"{name}.yaml").read_text())])


@pytest.mark.parametrize(
    "name", [*COMPLETE, "losses", "security-losses", "entries-losses", "kubernetes-losses"]
)
def test_example_becomes_its_golden_and_valid_documents(name: str) -> None:
    check_golden(converted(name), EXAMPLES / f"{name}.golden")


@pytest.mark.parametrize("name", COMPLETE)
def test_complete_examples_lose_nothing(name: str) -> None:
    assert [str(remark) for remark in converted(name).remarks if not remark.note] == []


def paths_below(node: YamlNode, path: tuple[str | int, ...] = ()) -> Iterator[str]:
    yield schema_path(path)
    for key, (_, child) in node.children.items():
        yield from paths_below(child, (*path, key))


@pytest.mark.parametrize("kind", KINDS)
def test_every_converted_field_is_in_an_example_without_a_loss(kind: str) -> None:
    nodes = [node for name in COMPLETE for node in parse_yaml((EXAMPLES / f"{name}.yaml").read_text())[0]]
    shown = {path for node in nodes if node.value["kind"] == kind for path in paths_below(node)}
    assert set(KINDS[kind].converted) - shown == set()


UNSUPPORTED = [(kind, path) for kind, fields in KINDS.items() for path in fields.unsupported]


@pytest.mark.parametrize(("kind", "path"), UNSUPPORTED)
def test_every_unsupported_field_is_named_at_its_position(kind: str, path: str) -> None:
    document: dict[str, Any] = {
        "apiVersion": KUBERNETES.get(kind, "networking.istio.io/v1"),
        "kind": kind, "metadata": {"name": "a"}, "spec": copy.deepcopy(SPECS.get(kind, {})),
    }  # fmt: skip
    spec, (field, *parents, last) = document["spec"], path.split(".")
    place = document[field]
    for depth, part in enumerate(parents):
        is_list = part in LISTS[kind]
        place[part] = [{}] if is_list else {}
        place, field = place[part], f"{field}.{part}"
        if is_list:
            place, field = place[0], f"{field}[0]"
            if depth == 0:
                place |= copy.deepcopy(RULES.get(kind, {}))
    if path.startswith("spec.trafficPolicy.tls"):
        place["mode"] = "ISTIO_MUTUAL"
    if path.startswith("spec.tls"):
        spec["gateways"] = ["public"]
    place[last] = {"x": "x"} if last == "annotations" else "x"
    last, field = ("x", f"{field}.{last}") if last == "annotations" else (last, field)
    text = dump_yaml([document])
    line = next(number for number, row in enumerate(text.splitlines(), 1) if f"{last}: x" in row)
    remarks = [remark for remark in convert([("a.yaml", text)]).remarks if not remark.note]
    message = f"{field}.{last} is not converted"
    assert [remark.line for remark in remarks if remark.message.startswith(message)] == [line]


DOCUMENTS = [
    node.value for path in sorted(EXAMPLES.glob("*.yaml")) for node in parse_yaml(path.read_text())[0]
]


@given(st.integers(0, len(DOCUMENTS) - 1), st.integers(0, 10_000), st.sampled_from(MISTAKES))
@settings(max_examples=150, deadline=None)
def test_a_mistake_anywhere_crashes_nothing_and_makes_no_invalid_document(
    number: int, place: int, mistake: Any
) -> None:
    check_mistake(convert, DOCUMENTS[number], place, mistake)


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if document["kind"] in KINDS])
def test_a_value_of_another_type_is_named(document: Any) -> None:
    check_wrong_types(
        convert,
        document,
        {
            "clusterIPs",
            "ipFamilies",
            "labels",
            "loadBalancer",
            "maglev",
            "providers",
            "ringHash",
            "selector",
            "status",
        },
    )


def test_a_mistake_where_the_kind_is_read_crashes_nothing() -> None:
    for document in {document["apiVersion"]: document for document in DOCUMENTS}.values():
        check_mistakes_in_head(convert, document)


def test_table_is_in_the_documentation() -> None:
    assert reference.convert_page("istio").read_text() == table.page("istio")


SOURCE = Value(Source("a.yaml"), parse_yaml("a: b")[0][0], parse_yaml("a: b")[0][0].position)
PATHS = (
    ("PathPrefix", "/"),
    ("PathPrefix", "/a"),
    ("PathPrefix", "/a/b"),
    ("Exact", "/a"),
    ("Exact", "/a/b"),
)
REQUESTS = [
    {"path": path, "method": method, "x": x, "y": y}
    for path, method, x, y in itertools.product(
        ("/", "/a", "/ab", "/a/b", "/a/b/c"), ("GET", "PUT"), ("", "1", "2"), ("", "1", "2")
    )
]
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "path": st.sampled_from([{"type": kind, "value": value} for kind, value in PATHS]),
        "method": st.sampled_from(["GET", "PUT"]),
        "headers": st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), min_size=1).map(
            lambda headers: [{"name": name, "value": value} for name, value in headers.items()]
        ),
    },
)


def matches(match: dict[str, Any], request: dict[str, str]) -> bool:
    path = match.get("path", {"type": "PathPrefix", "value": "/"})
    inside = path["type"] == "PathPrefix" and f"{request['path']}/".startswith(
        path["value"].rstrip("/") + "/"
    )
    return (
        (inside or request["path"] == path["value"])
        and match.get("method") in (None, request["method"])
        and all(request[header["name"]] == header["value"] for header in match.get("headers", []))
    )


@given(st.lists(st.lists(MATCHES, min_size=1, max_size=2), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_the_most_specific_match_is_that_of_the_first_rule(rules: list[list[dict[str, Any]]]) -> None:
    converted_rules = [RuleMatches([SourcedMatch(SOURCE, match, match) for match in rule]) for rule in rules]
    keep_order(converted_rules)
    entries = [
        (match_rank(entry.match), number, entry.match)
        for number, rule in enumerate(converted_rules)
        for entry in (*rule.matches, *rule.added)
    ]
    ranked = sorted(entries, key=lambda entry: entry[:2])
    for request in REQUESTS:
        first = next((n for n, rule in enumerate(rules) if any(matches(m, request) for m in rule)), None)
        assert next((number for _, number, match in ranked if matches(match, request)), None) == first


async def test_command_writes_files_once_and_strict_fails(run: RunMesh, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text((EXAMPLES / "losses.yaml").read_text())
    result = await run("convert", "istio", "a.yaml", "-o", "out", "--strict")
    assert result.code == 1
    assert "a.yaml:12:3: spec.exportTo is not converted" in result.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        Path(line).name for line in result.out.splitlines()
    )
    again = await run("convert", "istio", "a.yaml", "-o", "out")
    assert (again.code, "already exists: use --force" in again.err) == (2, True)
    assert (await run("convert", "istio", "a.yaml", "-o", "out", "--force")).code == 0
    valid = await run("validate", "out")
    assert (valid.code, valid.err) == (0, "")


async def test_command_refuses_what_is_not_yaml(run: RunMesh, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: [")
    result = await run("convert", "istio", "a.yaml")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("a.yaml:1:")


ROUTE = """apiVersion: networking.istio.io/%s
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [orders]
  http:
    - route:
        - {destination: &orders {host: orders, subset: v1}, weight: 10}
        - {destination: {<<: *orders, subset: v2}, weight: 90}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: orders}
spec: {host: orders, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
"""


def test_merge_keys_are_applied() -> None:
    result = convert([("a.yaml", ROUTE % "v1")])
    assert result.remarks == ()
    (route,) = [document for document in result.documents if document["kind"] == "HTTPRoute"]
    assert {ref["name"]: ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]} == {
        "orders-v1": 10,
        "orders-v2": 90,
    }
    wrong = ROUTE.replace("<<: *orders", "<<: orders") % "v1"
    assert "a.yaml:9:12" in str(convert([("a.yaml", wrong)]).remarks[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ROUTE % "v9", "a.yaml:1:1: note: v9 of networking.istio.io is not known: it is read as v1"),
        (
            (ROUTE % "v1").replace("apiVersion: networking.istio.io/v1\n", "", 1),
            "a.yaml:1:1: has no apiVersion",
        ),
        ((ROUTE % "v1").replace("kind: VirtualService\n", ""), "a.yaml:1:1: has no kind"),
        (f"{ROUTE % 'v1'}---\n{ROUTE % 'v1'}", "a.yaml:16:1: is the second VirtualService orders"),
    ],
)
def test_a_document_that_is_not_what_it_seems_is_named(text: str, expected: str) -> None:
    assert expected in "\n".join(map(str, convert([("a.yaml", text)]).remarks))


def test_documents_of_one_name_in_two_namespaces_are_two() -> None:
    other = (ROUTE % "v1").replace("{name: orders}", "{name: orders, namespace: other}")
    routes = [
        document["metadata"]["name"]
        for document in convert([("a.yaml", f"{ROUTE % 'v1'}---\n{other}")]).documents
        if document["kind"] == "HTTPRoute"
    ]
    assert routes == ["orders", "orders-2"]
