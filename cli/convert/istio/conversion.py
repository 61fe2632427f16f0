"""Files of Istio's documents as documents of the mesh, with everything that is lost on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshwright.cli.convert.istio.destination_rule import defined_subsets
from meshwright.cli.convert.istio.kinds import CONVERTERS, GROUPS, KINDS
from meshwright.cli.convert.istio.request_authentication import issuers_in
from meshwright.cli.convert.istio.scope import Document, Scope
from meshwright.cli.convert.reading import Remark, Source, Value, schema_path
from meshwright.control_plane.api.yaml.parser import YamlNode, parse_yaml

ROOT_NAMESPACE = "istio-system"
"""Where a policy without a selector is for every namespace."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """The documents in the order of their sources, and the remarks in the order of the files."""

    documents: tuple[Document, ...]
    remarks: tuple[Remark, ...]
    invalid: tuple[Remark, ...] = ()
    """Syntax errors: nothing is converted while there are any."""


def convert(files: Iterable[tuple[str, str]]) -> Conversion:
    """Convert the text of files, each with its path. Raises nothing."""
    documents: list[Value] = []
    invalid: list[Remark] = []
    for path, text in files:
        nodes, problems = parse_yaml(text)
        invalid += [Remark(path, *problem.position, problem.message) for problem in problems]
        documents += [
            Value(Source(path), node, node.position) for top in nodes for node in _documents_in(top)
        ]
    if invalid:
        return Conversion((), (), tuple(invalid))
    scope = _scope(documents)
    for document in documents:
        _convert_document(document, scope)
    remarks = [remark for document in documents for remark in sorted(document.source.remarks)]
    return Conversion(tuple(scope.documents), tuple(remarks))


def _scope(documents: list[Value]) -> Scope:
    """What all documents define."""
    rules = [document for document in documents if _kind(document) == "DestinationRule"]
    tokens = [document for document in documents if _kind(document) == "RequestAuthentication"]
    places = [document.get("metadata") for document in documents if _kind(document)]
    return Scope(
        subsets={key: labels for rule in rules for key, labels in defined_subsets(rule).items()},
        issuers=tuple(dict.fromkeys(issuer for document in tokens for issuer in issuers_in(document))),
        namespaces=frozenset(place.text("namespace") for place in places if place) - {"", ROOT_NAMESPACE},
    )


def _documents_in(node: YamlNode) -> list[YamlNode]:
    """The document itself, or those of a `List` as kubectl writes it."""
    listed = node.children.get("items")
    if isinstance(node.value, Mapping) and str(node.value.get("kind", "")).endswith("List") and listed:
        return [entry for _, entry in listed[1].children.values()]
    return [node]


def _kind(document: Value) -> str:
    """The kind, if it is one that is converted; otherwise empty."""
    value = document.node.value
    if not isinstance(value, Mapping) or not str(value.get("apiVersion")).startswith(GROUPS):
        return ""
    kind = str(value.get("kind"))
    return kind if kind in KINDS else ""


def _convert_document(document: Value, scope: Scope) -> None:
    kind = _kind(document)
    if not kind:
        _report_foreign(document)
        return
    for field in ("apiVersion", "kind"):
        document.get(field)
    if status := document.get("status"):
        status.skip()
    metadata = document.get("metadata")
    name = metadata.text("name") if metadata else ""
    if metadata:
        for field in ("labels", "annotations"):
            if carried := metadata.get(field):
                carried.note("are not carried over")
        metadata.skip()
    if not name:
        document.problem(f"{kind} has no metadata.name: it is not converted")
        return
    CONVERTERS[kind](document, name, scope)
    for value in document.unread():
        reason = KINDS[kind].reason(schema_path(value.path))
        value.problem(f"is not converted: {reason}" if reason else f"is no field of {kind} that is known")


def _report_foreign(document: Value) -> None:
    """Name a document that is not read: Istio's and Kubernetes' networking as lost, others as a note."""
    content = document.node.value
    if not isinstance(content, Mapping):
        document.problem("expected a document with apiVersion, kind, metadata and spec")
        return
    kind, version = content.get("kind"), str(content.get("apiVersion"))
    metadata = content.get("metadata")
    name = f"{kind}/{metadata.get('name')}" if isinstance(metadata, Mapping) else str(kind)
    if version.startswith("gateway.networking.k8s.io/"):
        document.note(f"{name} is left as it is: `mesh apply` takes it")
    elif "istio.io/" in version or kind in ("Ingress", "Service"):
        document.problem(f"{name} is not converted: the kinds are {', '.join(sorted(KINDS))}")
    else:
        document.note(f"{name} is no part of a mesh: it is left out")
