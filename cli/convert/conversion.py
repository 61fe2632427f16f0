"""What every conversion begins and ends with: documents of files, and remarks on what was not read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meshwright.cli.convert.application import ApplicationParts
from meshwright.cli.convert.documents import Document
from meshwright.cli.convert.fields import KindFields
from meshwright.cli.convert.merge_keys import parse_merged
from meshwright.cli.convert.reading import Remark, Source, Value, schema_path
from meshwright.control_plane.api.yaml.parser import YamlNode


@dataclass(frozen=True, slots=True)
class Conversion:
    """The documents in the order of their sources, and the remarks in the order of the files."""

    documents: tuple[Document, ...]
    remarks: tuple[Remark, ...]
    invalid: tuple[Remark, ...] = ()
    """Syntax errors: nothing is converted while there are any."""

    application: ApplicationParts = field(default_factory=ApplicationParts)
    """What belongs into an application file."""


def read_files(files: Iterable[tuple[str, str]]) -> tuple[list[Value], tuple[Remark, ...]]:
    """The documents in the text of files, each with its path, and syntax errors."""
    documents: list[Value] = []
    invalid: list[Remark] = []
    for path, text in files:
        nodes, problems = parse_merged(text)
        invalid += [Remark(path, *problem.position, problem.message) for problem in problems]
        documents += [
            Value(Source(path), node, node.position) for top in nodes for node in _documents_in(top)
        ]
    return documents, tuple(invalid)


def finished(
    sources: list[Value], documents: list[Document], application: ApplicationParts | None = None
) -> Conversion:
    """The conversion of these sources."""
    remarks = tuple(remark for each in sources for remark in sorted(each.source.remarks))
    return Conversion(tuple(documents), remarks, application=application or ApplicationParts())


def metadata_name(document: Value, kind: str, *, annotations_are_read: bool = False) -> str:
    """The name in the metadata, which are done with it; empty, and a remark, without one."""
    for name in ("apiVersion", "kind"):
        document.get(name)
    if status := document.get("status"):
        status.skip()
    metadata = document.get("metadata")
    name = metadata.text("name") if metadata else ""
    if metadata:
        for part in ("labels",) if annotations_are_read else ("labels", "annotations"):
            if carried := metadata.get(part):
                carried.note("are not carried over")
        metadata.skip()
    if not name:
        document.problem(f"{kind} has no metadata.name: it is not converted")
    return name


def is_repeated(document: Value, key: tuple[str, ...], seen: set[tuple[str, ...]]) -> bool:
    """Whether a document of this kind, place and name was read before, and a remark if so."""
    if key not in seen:
        seen.add(key)
        return False
    document.problem(f"is the second {key[0]} {key[-1]}: it is not converted")
    return True


def report_unread(document: Value, kind: str, fields: KindFields) -> None:
    """Name what the conversion of a document has not read."""
    for value in document.unread():
        reason = fields.reason(schema_path(value.path))
        value.problem(f"is not converted: {reason}" if reason else f"is no field of {kind} that is known")


def _documents_in(node: YamlNode) -> list[YamlNode]:
    """The document itself, or those of a `List` as kubectl writes it."""
    listed = node.children.get("items")
    if isinstance(node.value, Mapping) and str(node.value.get("kind", "")).endswith("List") and listed:
        return [entry for _, entry in listed[1].children.values()]
    return [node]
