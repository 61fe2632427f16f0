"""Files of Istio's documents as documents of the mesh, with everything that is lost on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshwright.cli.convert.conversion import (
    Conversion,
    finished,
    is_repeated,
    metadata_name,
    read_files,
    report_unread,
)
from meshwright.cli.convert.istio.destination_rule import defined_subsets
from meshwright.cli.convert.istio.kinds import ANNOTATED, CONVERTERS, FIRST, GROUPS, KINDS, KUBERNETES
from meshwright.cli.convert.istio.kubernetes.ingress import add_ingress_gateways, default_class
from meshwright.cli.convert.istio.request_authentication import issuers_in
from meshwright.cli.convert.istio.scope import Scope
from meshwright.cli.convert.reading import Value

VERSIONS = ("v1", "v1beta1", "v1alpha3", "v1alpha1")
"""Of Istio's groups."""

ROOT_NAMESPACE = "istio-system"
"""Where a policy without a selector is for every namespace."""


def convert(files: Iterable[tuple[str, str]]) -> Conversion:
    """Convert the text of files, each with its path. Raises nothing."""
    documents, invalid = read_files(files)
    if invalid:
        return Conversion((), (), invalid)
    scope = _scope(documents)
    seen: set[tuple[str, ...]] = set()
    for document in sorted(documents, key=lambda each: _kind(each) not in FIRST):
        _convert_document(document, scope, seen)
    add_ingress_gateways(scope)
    return finished(documents, scope.documents, scope.application)


def _scope(documents: list[Value]) -> Scope:
    """What all documents define."""
    rules = [document for document in documents if _kind(document) == "DestinationRule"]
    tokens = [document for document in documents if _kind(document) == "RequestAuthentication"]
    classes = (default_class(each) for each in documents if _kind(each) == "IngressClass")
    places = [document.get("metadata") for document in documents if _kind(document)]
    return Scope(
        subsets={key: labels for rule in rules for key, labels in defined_subsets(rule).items()},
        issuers=tuple(dict.fromkeys(issuer for document in tokens for issuer in issuers_in(document))),
        namespaces=frozenset(place.text("namespace") for place in places if place) - {"", ROOT_NAMESPACE},
        default_class=next(filter(None, classes), ""),
    )


def _kind(document: Value) -> str:
    """The kind, if it is one that is converted; otherwise empty."""
    value = document.node.value
    if not isinstance(value, Mapping):
        return ""
    kind, version = str(value.get("kind")), str(value.get("apiVersion"))
    is_read = version == KUBERNETES[kind] if kind in KUBERNETES else version.startswith(GROUPS)
    return kind if kind in KINDS and is_read else ""


def _convert_document(document: Value, scope: Scope, seen: set[tuple[str, ...]]) -> None:
    kind = _kind(document)
    if not kind:
        _report_foreign(document)
        return
    name = metadata_name(document, kind, annotations_are_read=kind in ANNOTATED)
    metadata = document.node.value.get("metadata")
    namespace = str(metadata.get("namespace", "")) if isinstance(metadata, Mapping) else ""
    if name and not is_repeated(document, (kind, namespace, name), seen):
        _note_version(document)
        CONVERTERS[kind](document, name, scope)
        report_unread(document, kind, KINDS[kind])


def _note_version(document: Value) -> None:
    """Say that a version of Istio's API is not one that was there when this was written."""
    group, _, version = str(document.node.value.get("apiVersion")).partition("/")
    if group.endswith("istio.io") and version not in VERSIONS:
        document.note(f"{version or 'no version'} of {group} is not known: it is read as v1")


def _report_foreign(document: Value) -> None:
    """Name a document that is not read: Istio's and Kubernetes' networking as lost, others as a note."""
    content = document.node.value
    if not isinstance(content, Mapping):
        document.problem("expected a document with apiVersion, kind, metadata and spec")
        return
    kind, version = str(content.get("kind")), str(content.get("apiVersion"))
    metadata = content.get("metadata")
    name = f"{kind}/{metadata.get('name')}" if isinstance(metadata, Mapping) else kind
    missing = [field for field in ("apiVersion", "kind") if not content.get(field)]
    if missing:
        document.problem(f"has no {missing[0]}: it is not converted")
    elif version.startswith("gateway.networking.k8s.io/"):
        document.note(f"{name} is left as it is: `mesh apply` takes it")
    elif "istio.io/" in version or kind in KUBERNETES:
        document.problem(f"{name} of {version} is not converted: the kinds are {', '.join(sorted(KINDS))}")
    else:
        document.note(f"{name} is no part of a mesh: it is left out")
