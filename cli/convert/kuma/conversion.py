"""Files of Kuma's documents as documents of the mesh, with everything that is lost on the way."""

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
from meshwright.cli.convert.documents import Documents
from meshwright.cli.convert.kuma.kinds import CONVERTERS, KINDS
from meshwright.cli.convert.reading import Value

GROUP = "kuma.io/"
_UNIVERSAL = ("type", "mesh", "labels", "creationTime", "modificationTime", "kri")


def convert(files: Iterable[tuple[str, str]]) -> Conversion:
    """Convert the text of files, each with its path. Raises nothing."""
    sources, invalid = read_files(files)
    if invalid:
        return Conversion((), (), invalid)
    documents = Documents()
    seen: set[tuple[str, ...]] = set()
    for source in sources:
        _convert_document(source, documents, seen)
    return finished(sources, documents.documents)


def _convert_document(document: Value, documents: Documents, seen: set[tuple[str, ...]]) -> None:
    content = document.node.value
    if not isinstance(content, Mapping):
        document.problem("expected a document of Kuma: `type` with name and mesh, or apiVersion and kind")
        return
    is_universal = "type" in content
    kind = str(content.get("type" if is_universal else "kind"))
    if kind not in KINDS or not (is_universal or str(content.get("apiVersion")).startswith(GROUP)):
        document.problem(f"{kind} is not converted: the kinds are {', '.join(KINDS)}")
        return
    name = _universal_name(document, kind) if is_universal else metadata_name(document, kind)
    if not name or is_repeated(document, (kind, str(content.get("mesh")), name), seen):
        return
    spec = document.get("spec")
    if spec:
        CONVERTERS[kind](spec, name, documents)
        report_unread(document, kind, KINDS[kind])
    else:
        document.problem(f"{kind} has no spec: it is not converted")


def _universal_name(document: Value, kind: str) -> str:
    for field in _UNIVERSAL:
        if value := document.get(field):
            value.skip()
    name = document.text("name")
    if not name:
        document.problem(f"{kind} has no name: it is not converted")
    return name
