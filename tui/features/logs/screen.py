"""The logs of a service's instances or of one proxy: apps and Envoys, merged by time, as they are written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from textual import work
from textual.binding import BindingType
from textual.content import Content

from meshwright.control_plane.api.log_lines import LogCursors, LogLine, merge_lines
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.errors import MeshError
from meshwright.tui import keys
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.logs.table import (
    COLUMNS,
    MAX_LINE,
    ORDERS,
    log_row,
    source_name,
    trace_id,
)
from meshwright.tui.format import sanitize
from meshwright.tui.keys import bind
from meshwright.tui.live_list_screen import LiveListScreen
from meshwright.tui.mesh_state import StateField
from meshwright.tui.navigation import LogsLocation, ProxyLocation, TraceLocation
from meshwright.tui.theme import paint
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import TableRow

POLL_SECONDS = 1.0
"""Seconds between two requests for what was written since."""

FIRST_LINES = 500
"""Lines from the end of each log that are fetched first."""

PARALLEL_REQUESTS = 8
"""Proxies whose logs are read at once."""

SOURCES = ("", "app", "Envoy")
"""Whose lines are shown: all, those of apps, those of Envoys."""


class LogsScreen(LiveListScreen[LogLine]):
    """The newest lines at the end. They are fetched only while the screen is current."""

    COLUMNS = COLUMNS
    SORT_ORDERS = ORDERS
    EMPTY = "these logs are empty"
    NOUN = "lines"
    LIMIT = 5000
    STATE_FIELDS: ClassVar[frozenset[StateField]] = frozenset({"proxies"})
    SEARCH_HINT: ClassVar[str] = "words of a line"
    HELP: ClassVar[str] = (
        "What the instances and their Envoys write, by time; the selected line below in full. The list "
        "follows its end while the cursor is there. f shows only apps or only Envoys, space pauses, Enter "
        "opens the trace that a line names, or else the sidecar; the 5000 newest lines are kept."
    )
    BINDINGS: ClassVar[list[BindingType]] = [bind(keys.FILTER, "filter")]

    def __init__(self, location: LogsLocation) -> None:
        super().__init__(location)
        self._service, self._proxy = location.service, location.proxy
        self._source = ""
        self._cursors = LogCursors()

    def on_mount(self) -> None:
        """Start to follow the logs."""
        self.follow()

    @work(exclusive=True, name="listen")
    async def follow(self) -> None:
        """Fetch new lines until the screen is closed."""
        while True:
            if self.is_current and self.mesh_state.proxies is not None:
                await self._fetch(self.mesh_state.proxies)
            await asyncio.sleep(POLL_SECONDS)

    async def _fetch(self, proxies: tuple[ProxyDetail, ...]) -> None:
        names = [
            proxy.name
            for proxy in proxies
            if proxy.service == self._service and self._proxy in ("", proxy.name)
        ]
        slots = asyncio.Semaphore(PARALLEL_REQUESTS)
        problems: list[str] = [] if names else [f"no sidecar of {self._proxy or self._service} is connected"]

        async def read(name: str) -> list[LogLine]:
            after = self._cursors.offsets(self._service, name)
            async with slots:
                try:
                    parts = await self.session.poller.call(
                        lambda client: client.proxy_logs(f"{self._service}/{name}", FIRST_LINES, after)
                    )
                except MeshError as error:
                    problems.append(str(error))
                    return []
            return self._cursors.advance(self._service, name, parts)

        read_lines = await asyncio.gather(*map(read, names))
        lines = merge_lines(line for part in read_lines for line in part)
        self.set_problem(problems[0] if problems else "")
        self.add(replace(line, text=line.text[:MAX_LINE]) for line in lines)

    def matches(self, item: LogLine) -> bool:
        """By whose line it is."""
        return self._source in ("", source_name(item))

    def search_text(self, item: LogLine) -> str:
        """The instance and the line."""
        return f"{item.log.name} {item.text}"

    def search_labels(self, item: LogLine) -> str:
        """The labels of the instance."""
        return self.labels_of(f"{item.log.service}/{item.log.name}")

    def build_row(self, key: str, item: LogLine) -> TableRow:
        """The row of a line."""
        return log_row(key, item)

    def growing_texts(self, item: LogLine) -> Mapping[int, str]:
        """Instance and line."""
        return {1: item.log.name, 3: item.text}

    def detail(self, item: LogLine) -> Content:
        """The whole line."""
        return Content.assemble(paint(f"{sanitize(item.log.name)} ", "accent"), sanitize(item.text))

    def source(self) -> Iterator[Content]:
        """Whose logs."""
        yield paint(f"of {sanitize(self._proxy or self._service)}", "accent")
        if self._source:
            yield paint(f"{self._source} only", "accent")

    @work(exclusive=True, group="choose")
    async def action_filter(self) -> None:
        """Choose all lines, those of apps, or those of Envoys."""
        choices = ["of apps and Envoys", *(f"of {source}s only" for source in SOURCES[1:])]
        chosen = await self.app.push_screen_wait(ChooseOne("show lines", choices))
        if chosen is not None:
            self._source = SOURCES[chosen]
            self.draw_list()

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Enter: the trace that the line names, else the sidecar."""
        line = self.item(message.key)
        if line is None:
            return
        trace = trace_id(line.text)
        self.session.go(TraceLocation(trace) if trace else ProxyLocation(line.log.name, line.log.service))
