"""The pages docs/convert-SOURCE.md: every field and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshwright.cli.convert.consul.fields import KINDS as CONSUL
from meshwright.cli.convert.fields import METADATA, KindFields
from meshwright.cli.convert.istio.kinds import KINDS as ISTIO
from meshwright.cli.convert.kuma.kinds import KINDS as KUMA

SOURCES: Mapping[str, tuple[str, Mapping[str, KindFields]]] = {
    "istio": ("Istio", ISTIO),
    "kuma": ("Kuma", KUMA),
    "consul": ("Consul", CONSUL),
}
"""What `mesh convert` reads: the project's name, and its kinds."""


def page(source: str) -> str:
    """The text of the page for one source."""
    name, kinds = SOURCES[source]
    head = f"""# {name}'s fields

`python -m checks.reference` generates this page from the code. It lists every field of the kinds that
`mesh convert {source}` reads ([how to use it](convert.md)), by their names in YAML. A field that becomes
nothing is named on stderr with its line and column.
"""
    return "".join([head, *(_section(kind, fields) for kind, fields in kinds.items())])


def _section(kind: str, fields: KindFields) -> str:
    lines = [f"\n## {kind}\n", "| field | becomes |", "|---|---|", *_rows(fields)]
    return "\n".join(lines) + "\n"


def _rows(fields: KindFields) -> Iterator[str]:
    for name, text in METADATA.items():
        if text:
            yield _row(name, text)
    for name, text in fields.converted.items():
        yield _row(name, text)
    for name, text in fields.unsupported.items():
        yield _row(name, f"**unsupported**: {text}")


def _row(name: str, text: str) -> str:
    escaped = text.replace("|", "\\|")
    return f"| `{name}` | {escaped} |"
