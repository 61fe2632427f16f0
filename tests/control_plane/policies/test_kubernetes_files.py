"""Policy files as Kubernetes' tools write them: lists, server-side fields, versions, names, foreign kinds."""

from __future__ import annotations

import json

import jsonschema
import pytest

from meshwright.control_plane.policies.ignored_fields import ignored_fields
from meshwright.control_plane.policies.loader import LoadResult, load, load_files
from meshwright.control_plane.policies.registry import example, kinds
from meshwright.control_plane.policies.schema import dump, schema
from tests.control_plane.policies.test_loader import RETRY, ROUTE

SERVER_FIELDS = """\
  uid: 4f0c
  resourceVersion: "17"
  generation: 3
  creationTimestamp: null
  managedFields: [{manager: kubectl, fieldsV1: {"f:spec": {}}}]
  ownerReferences: [{kind: Deployment, name: x}]
  finalizers: [example.com/x]
"""


def load_text(text: str, *, skip_unknown: bool = False) -> LoadResult:
    return load_files([("p.yaml", text.encode())], skip_unknown=skip_unknown)


@pytest.mark.parametrize("kind", kinds())
def test_load_ignores_status_and_fields_of_the_api_server(kind: str) -> None:
    text = example(kind)
    head, _, rest = text.partition("metadata:\n")
    exported = f"{head}metadata:\n{SERVER_FIELDS}{rest}status: {{parents: [{{conditions: []}}]}}\n"
    assert rest
    (plain,), (loaded,) = load_text(text).documents, load_text(exported).documents
    assert dump(loaded.policy) == dump(plain.policy)
    jsonschema.validate(loaded.raw, schema(kinds()[kind]))


def test_load_reads_every_document_of_a_list() -> None:
    items = [json.loads(json.dumps(load_text(text).documents[0].raw)) for text in (RETRY, ROUTE)]
    nested = {"apiVersion": "v1", "kind": "List", "items": items[1:], "metadata": {"resourceVersion": ""}}
    for content in (
        {"apiVersion": "v1", "kind": "List", "items": items},
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRouteList", "items": items},
        {"apiVersion": "v1", "kind": "List", "items": [items[0], nested]},
        items,
    ):
        loaded = load(json.dumps(content, indent=1).encode(), "p.json")
        assert [document.policy.ref for document in loaded.documents] == ["Retry/r", "HTTPRoute/h"]
        assert loaded.problems == ()
    assert load_text("apiVersion: v1\nkind: List\nitems: []\n") == LoadResult()


def test_load_problem_in_a_list_has_its_position() -> None:
    text = "kind: List\nitems:\n- kind: Retry\n  apiVersion: meshwright.io/v1\n"
    text += "  metadata: {name: r}\n  spec: {}\n"
    assert [str(problem) for problem in load_text(text).problems] == [
        "p.yaml:6:9: spec: targetRefs is missing, so the policy has no effect: name a Mesh, Service or route"
    ]


FOREIGN = [
    "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n",
    "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: a}\n",
    "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: a}\n",
    "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\n",
]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_load_skips_foreign_kinds_on_request(foreign: str) -> None:
    text = f"{foreign}---\n{RETRY}"
    assert load_text(text).problems
    loaded = load_text(text, skip_unknown=True)
    assert ([document.policy.ref for document in loaded.documents], loaded.problems) == (["Retry/r"], ())
    (skipped,) = loaded.skipped
    assert str(skipped).startswith("p.yaml:1:1: kind '")


@pytest.mark.parametrize(
    "text", [RETRY.replace("kind: Retry", "kind: Retri"), "kind: Pod\n", "a: b\n", "- 1\n"]
)
def test_load_never_skips_what_may_be_a_policy(text: str) -> None:
    loaded = load_text(text, skip_unknown=True)
    assert (len(loaded.problems), loaded.skipped) == (1, ())


def test_load_accepts_one_namespace_and_refuses_a_second() -> None:
    first, second = (RETRY.replace("name: r", f"name: r{n}\n  namespace: {n}") for n in ("shop", "test"))
    assert load_text(f"{first}---\n{RETRY}").problems == ()
    files = [("a.yaml", RETRY.encode()), ("b.yaml", first.encode()), ("c.yaml", second.encode())]
    (problem,) = load_files(files).problems
    assert str(problem).startswith(
        "c.yaml:5:14: metadata.namespace: 'test' differs from 'shop', and a mesh is"
    )


@pytest.mark.parametrize(
    ("kind", "versions"),
    [
        ("Gateway", ("v1", "v1beta1")), ("HTTPRoute", ("v1", "v1beta1")), ("GRPCRoute", ("v1",)),
        ("TCPRoute", ("v1", "v1alpha2")),
    ],
)  # fmt: skip
def test_load_accepts_every_version_that_the_gateway_api_serves(kind: str, versions: tuple[str, ...]) -> None:
    (document,) = load_text(example(kind)).documents
    for version in ("v1", "v1beta1", "v1alpha2", "v2"):
        content = {**document.raw, "apiVersion": f"gateway.networking.k8s.io/{version}"}
        loaded = load(json.dumps(content).encode(), "p.json")
        assert (not loaded.problems) is (version in versions)
        assert {item.policy.spec for item in loaded.documents} <= {document.policy.spec}


ROUTE_KINDS = ("HTTPRoute", "GRPCRoute", "TCPRoute")
HOST_NAME = "www." + "a" * 63 + ".example.com"
LONGEST = "a." * 126 + "b"


def named(kind: str) -> str:
    return load_text(example(kind)).documents[0].policy.name


@pytest.mark.parametrize("name", [HOST_NAME, LONGEST, "a-b.c"])
def test_load_accepts_names_of_the_gateway_api(name: str) -> None:
    documents = [
        *(example(kind).replace(f"name: {named(kind)}", f"name: {name}", 1) for kind in ROUTE_KINDS),
        RETRY.replace("{kind: Mesh}", f"{{kind: HTTPRoute, name: {name}, sectionName: {name}}}"),
        ROUTE.replace("{kind: Service, name: a}", f"{{name: ingress, sectionName: {name}}}")
        + f"  rules: [{{name: {name}}}]\n",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: ingress}\n"
        f"spec: {{listeners: [{{name: {name}, port: 80, protocol: HTTP}}]}}\n",
    ]
    loaded = load_text("---\n".join(documents))
    assert loaded.problems == ()
    assert [document.policy.name for document in loaded.documents] == [name] * 3 + ["r", "h", "ingress"]
    for document in loaded.documents:
        jsonschema.validate(document.raw, schema(type(document.policy)))


@pytest.mark.parametrize("name", [f"a{LONGEST}", "a..b", ".a", "a.", "A.b", "a_b", "a.-b", "a/b", "a b"])
@pytest.mark.parametrize("kind", ROUTE_KINDS)
def test_load_refuses_other_names_of_routes(kind: str, name: str) -> None:
    (document,) = load_text(example(kind)).documents
    content = {**document.raw, "metadata": {"name": name}}
    (problem,) = load(json.dumps(content).encode(), "p.json").problems
    assert "metadata.name: " in str(problem)
    assert "253" in str(problem) or "use lower-case letters, digits, '-' and '.'" in str(problem)


def test_every_kind_takes_names_of_253_characters_but_one_that_names_a_cluster() -> None:
    for kind in kinds():
        text = example(kind).replace(f"name: {named(kind)}", f"name: {LONGEST}", 1)
        assert bool(load_text(text).problems) is (kind in ("Subset", "ExternalService")), kind


OWN = "namespace: shop"
IN_ONE_NAMESPACE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec:
  parentRefs: [{kind: Service, name: a, namespace: shop}]
  rules:
    - filters: [{type: RequestMirror, requestMirror: {backendRef: {name: b, namespace: shop}}}]
      backendRefs: [{name: a, namespace: shop}]
"""


def test_references_may_repeat_the_namespace_of_their_document() -> None:
    (document,) = load_text(IN_ONE_NAMESPACE).documents
    assert "namespace" not in json.dumps(dump(document.policy)["spec"])
    default = IN_ONE_NAMESPACE.replace(", namespace: shop}\nspec", "}\nspec").replace(
        OWN, "namespace: default"
    )
    assert load_text(default).problems == ()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_reference_to_another_namespace_is_refused_at_its_position(number: int) -> None:
    parts = IN_ONE_NAMESPACE.split(OWN)
    text = OWN.join(parts[: number + 1]) + "namespace: other" + OWN.join(parts[number + 1 :])
    (problem,) = load_text(text).problems
    assert ".namespace: 'other' is not the route's namespace, and a mesh has only one" in str(problem)


def test_routes_without_parents_are_valid() -> None:
    text = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {}\n"
    assert load_text(text).problems == ()


IGNORED = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g, namespace: shop, uid: x, labels: {a: b}}
spec:
  gatewayClassName: other
  infrastructure: {labels: {a: b}}
  addresses: [{type: IPAddress}]
  listeners:
    - {name: b, port: 443, protocol: HTTPS, tls: {options: {x.io/a: b}}}
status: {}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec: {parentRefs: [{kind: Service, name: a}], hostnames: [a.b]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: s}
spec: {parentRefs: [{name: g}], hostnames: [a.b]}
"""


def test_ignored_fields_are_listed_at_their_position() -> None:
    lines = [str(line) for document in load_text(IGNORED).documents for line in ignored_fields(document)]
    assert lines == [
        "p.yaml:11:9: status: ignored",
        "p.yaml:4:32: metadata.namespace: ignored",
        "p.yaml:4:43: metadata.uid: ignored",
        "p.yaml:6:21: spec.gatewayClassName: ignored",
        "p.yaml:7:19: spec.infrastructure: ignored",
        "p.yaml:8:14: spec.addresses: ignored",
        "p.yaml:10:69: spec.listeners[0].tls.options.x.io/a: ignored",
        "p.yaml:16:59: spec.hostnames: ignored",
    ]


UNSUPPORTED = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
"""


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "rules: [{sessionPersistence: {type: Cookie}}]",
            "spec.rules[0].sessionPersistence: not supported: a LoadBalancer with hashOn.cookie keeps",
        ),
        (
            "rules: [{filters: [{type: ExtensionRef, extensionRef: {group: a.b, kind: C, name: d}}]}]",
            "spec.rules[0].filters[0].type: 'ExtensionRef' is not supported: attach a policy to the rule",
        ),
        (
            "rules: [{filters: [{type: ExternalAuth}]}]",
            "spec.rules[0].filters[0].type: 'ExternalAuth' is not supported: ",
        ),
        (
            "useDefaultGateways: All",
            "spec.useDefaultGateways: not supported: name the gateways in parentRefs",
        ),
        (
            "parentRefs: [{kind: ListenerSet, name: x}]",
            "spec.parentRefs[0].kind: 'ListenerSet' is not supported: write the listeners in the Gateway",
        ),
        (
            "rules: [{filters: [{type: CORS, cors: {allowOrigins: ['https://a.b/c']}}]}]",
            "allowOrigins[0]: 'https://a.b/c' is not allowed: write scheme, host and port alone, such as",
        ),
    ],
)
def test_what_the_mesh_does_not_implement_is_refused_with_what_to_write(spec: str, message: str) -> None:
    assert message in str(load_text(f"{UNSUPPORTED}  {spec}\n").problems[0])


def test_unknown_kind_of_the_gateway_api_may_be_a_mistake_or_be_skipped() -> None:
    (problem,) = load_text(UNSUPPORTED.replace("HTTPRoute", "UDPRoute") + "  rules: []\n").problems
    assert problem.message.endswith("did you mean TCPRoute? (`mesh apply --skip-unknown` skips it)")
