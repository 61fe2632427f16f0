"""The tables of `mesh proxy`: their columns, and which rows are shown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from meshwright.cli.proxies import certificate_text
from meshwright.cli.proxy_tables.dump import Json, Row

CELL_WIDTH = 60
"""Characters of a cell: some expressions that Envoy matches have hundreds."""


@dataclass(frozen=True, slots=True)
class ProxyTable:
    """A table: `section` is that of the dump, empty for all. Columns are fields of the rows.

    `--name` searches the first two.
    """

    section: str
    rows: Callable[[Iterable[Json]], Iterator[Row]]
    columns: tuple[str, ...]
    wide: tuple[str, ...]

    def select(self, configs: Iterable[Json], text: str) -> list[Row]:
        """The rows whose first or second column has `text` in it."""
        names = self.columns[:2]
        return [row for row in self.rows(configs) if any(text in str(row[name]) for name in names)]

    def header(self, *, wide: bool) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(name.replace("_", " ").upper() for name in self._shown(wide=wide))

    def cells(self, row: Row, now: float, *, wide: bool) -> tuple[str, ...]:
        """A row's cells, complete if `wide`.

        `now` in epoch seconds is for times, which are shown as what is left.
        """
        texts = (
            certificate_text(row[name] - now) if name == "expires" else _cell(row[name])
            for name in self._shown(wide=wide)
        )
        return tuple(
            text if wide or len(text) <= CELL_WIDTH else f"{text[: CELL_WIDTH - 1]}…" for text in texts
        )

    def _shown(self, *, wide: bool) -> tuple[str, ...]:
        return (*self.columns, *(self.wide if wide else ()))


def _cell(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text or "-"


def proxy_table(name: str) -> ProxyTable:
    """The table of a name. Only its own module is imported: reading certificates takes a library."""
    match name:
        case "listeners":
            from meshwright.cli.proxy_tables.listeners import listener_rows

            return ProxyTable(
                name,
                listener_rows,
                ("name", "address", "match", "destination", "status"),
                ("filters", "version"),
            )
        case "routes":
            from meshwright.cli.proxy_tables.routes import route_rows

            return ProxyTable(
                name,
                route_rows,
                ("name", "host", "match", "destination"),
                ("route", "domains", "timeout", "retries", "filters", "version"),
            )
        case "clusters":
            from meshwright.cli.proxy_tables.clusters import cluster_rows

            return ProxyTable(
                name,
                cluster_rows,
                ("name", "type", "policy", "tls", "status"),
                ("sni", "peers", "connect_timeout", "version"),
            )
        case "endpoints":
            from meshwright.cli.proxy_tables.clusters import endpoint_rows

            return ProxyTable(
                name, endpoint_rows, ("cluster", "address", "health", "weight"), ("priority", "locality")
            )
        case _:
            from meshwright.cli.proxy_tables.certificates import certificate_rows

            return ProxyTable(
                "", certificate_rows, ("name", "subject", "use", "expires"), ("issuer", "serial", "status")
            )
