"""The page docs/convert-istio.md: every field and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator

from meshwright.cli.convert.istio.fields import METADATA, KindFields
from meshwright.cli.convert.istio.kinds import KINDS

_HEAD = """# Istio's fields

`python -m checks.reference` generates this page from the code. It lists every field of the kinds that
`mesh convert istio` reads ([how to use it](convert.md)), by their names in YAML. A field that becomes
nothing is named on stderr with its line and column.
"""


def page() -> str:
    """The text of the page."""
    return "".join([_HEAD, *(_section(kind, fields) for kind, fields in KINDS.items())])


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
