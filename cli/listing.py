"""How `mesh get` prints a resource: a table, names, JSON, YAML, by a template; once, or as it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshwright.cli.errors import warn
from meshwright.cli.jsonpath import Template
from meshwright.cli.options import Output
from meshwright.cli.output import (
    colorize,
    echo,
    json_text,
    print_data,
    print_table,
    sanitize,
    table_lines,
    with_times,
)
from meshwright.cli.resources import Item, ResourceView, Row, age_text
from meshwright.control_plane.api.target_refs import target_summary
from meshwright.control_plane.errors import InputError

FORMATS = ("table", "wide", "name", "json", "yaml")
JSONPATH = "jsonpath="
POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Format:
    """How to print: one of FORMATS, or a template."""

    name: str
    template: Template | None = None

    @property
    def has_rows(self) -> bool:
        """Whether it is a table."""
        return self.name in ("table", "wide")


def parse_format(text: str) -> Format:
    """The format that `-o` names; raises InputError."""
    if text.startswith(JSONPATH):
        return Format("jsonpath", Template(text.removeprefix(JSONPATH)))
    if text not in FORMATS:
        raise InputError(
            f"no such output format: {text[:40]}: use {', '.join(FORMATS)} or {JSONPATH}TEMPLATE"
        )
    return Format(text)


@dataclass(slots=True)
class Listing:
    """A resource in a format. With `single` JSON is the item itself instead of `items`."""

    resource: ResourceView
    format: Format
    state: Path | None
    single: bool = False
    _printed: dict[str, Any] = field(default_factory=dict)

    def show(self, items: Sequence[dict[str, Any]]) -> None:
        """Print all items."""
        if self.format.has_rows:
            print_table(*self._table(self.resource.rows(items, self.state)))
            if not items:
                echo(f"no {self.resource.plural}")
        elif self.format.name == "name":
            for item in items:
                echo(self._reference(item))
        elif self.resource.name == POLICY and self.format.name == "yaml":
            print_documents(items, Output.yaml)
        else:
            self._print_value(self._values(items))

    def show_changes(self, items: Sequence[dict[str, Any]]) -> None:
        """Print what is not as the last time, and on stderr what is gone. An age alone changes nothing."""
        rows = self.resource.rows(items, self.state) if self.format.has_rows else []
        head, *lines = table_lines(*self._table(rows)) if rows else ["", *[""] * len(items)]
        if rows and not self._printed:
            echo(head)
        references = [self._reference(item) for item in items]
        compared = [row.cells for row in rows] or items
        for reference, item, line, now in zip(references, items, lines, compared, strict=True):
            if self._printed.get(reference) != now:
                self._print_one(item, line)
        for gone in self._printed.keys() - set(references):
            warn(f"{gone} is gone")
        self._printed = dict(zip(references, compared, strict=True))

    def _print_one(self, item: dict[str, Any], line: str) -> None:
        if line:
            echo(colorize(line))
        elif self.format.name == "name":
            echo(self._reference(item))
        elif self.format.template:
            self._print_value(self._values([item], single=True))
        else:
            echo(json_text(self._values([item], single=True)))

    def _table(self, rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Header and cells."""
        wide = self.format.name == "wide"
        header = (*self.resource.header, "AGE", *(self.resource.wide if wide else ()))
        return header, [(*row.cells, age_text(row.age), *(row.wide if wide else ())) for row in rows]

    def _reference(self, item: Item) -> str:
        if self.resource.name == POLICY:
            return sanitize(f"{item['kind'].lower()}/{item['metadata']['name']}")
        return sanitize(f"{self.resource.name}/{item['name']}")

    def _values(self, items: Sequence[dict[str, Any]], *, single: bool = False) -> Any:
        """One item, or all under `items`; policies as a List, which can be applied."""
        values = items if self.resource.name == POLICY else with_times(items)
        if (single or self.single) and len(values) == 1:
            return values[0]
        return document_list(values) if self.resource.name == POLICY else {"items": values}

    def _print_value(self, value: Any) -> None:
        if self.format.template:
            echo("\n".join(map(sanitize, self.format.template.render(value).split("\n"))))
        else:
            print_data(value, Output(self.format.name))


def document_list(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Documents as one that `mesh apply` reads."""
    return {"apiVersion": "v1", "kind": "List", "items": documents}


def print_documents(documents: Sequence[dict[str, Any]], output: Output) -> None:
    """Print documents as a table, as JSON that can be applied, or as a YAML stream."""
    if output is Output.json:
        print_data(document_list(documents), output)
    elif output is Output.yaml:
        from meshwright.control_plane.api.yaml.dump import dump_yaml

        echo(dump_yaml(list(documents)) if documents else "")
    elif documents:
        cells = [(d["kind"], d["metadata"]["name"], target_summary(d["spec"])) for d in documents]
        print_table(("KIND", "NAME", "TARGET"), cells)
    else:
        echo("no policies")
