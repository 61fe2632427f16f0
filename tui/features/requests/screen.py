"""The requests of a service or gateway, or of one of its proxies, as they occur."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import ClassVar

from textual import events, work
from textual.binding import BindingType
from textual.content import Content
from textual.screen import ModalScreen

from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.models.requests import Request, TapEvent
from meshwright.control_plane.errors import MeshError
from meshwright.tui import keys
from meshwright.tui.features.requests.table import (
    COLUMNS,
    ORDERS,
    caller_of,
    request_line,
    request_row,
    search_text,
    why_of,
)
from meshwright.tui.features.traces.why_dialog import WhyDialog
from meshwright.tui.format import format_milliseconds, sanitize
from meshwright.tui.keys import bind
from meshwright.tui.live_list_screen import LiveListScreen
from meshwright.tui.navigation import LiveRequestsLocation, LogsLocation, TraceLocation
from meshwright.tui.poller import RECONNECT_SECONDS
from meshwright.tui.theme import paint
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import TableRow


class LiveRequestsScreen(LiveListScreen[Request]):
    """The newest request at the end. Sidecars report them while this screen or a dialog of it is open."""

    COLUMNS = COLUMNS
    SORT_ORDERS = ORDERS
    EMPTY = "no requests yet: they appear here as they occur"
    NOUN = "requests"
    LIMIT = 2000
    SEARCH_HINT: ClassVar[str] = "path, caller, status, flag"
    HELP: ClassVar[str] = (
        "Requests as they occur; the selected one below in full. A retried request has one line per attempt "
        "that reached an instance. More than 200 requests per second are counted and not shown. x shows only "
        "failed requests, Enter explains the selected one, t opens its trace; the 2000 newest are kept."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.FAILED, "failed"),
        bind(keys.TRACES, "trace"),
        bind(keys.LOGS, "logs"),
    ]

    def __init__(self, location: LiveRequestsLocation) -> None:
        super().__init__(location)
        self._service, self._proxy = location.service, location.proxy
        self._failed_only = False
        self._tapped = ""
        self._omitted = 0

    def on_screen_resume(self) -> None:
        """Receive requests again, unless a dialog was closed, which does not end the tap."""
        super().on_screen_resume()
        mine = (worker for worker in self.workers if worker.node is self and worker.name == "listen")
        if all(worker.is_finished for worker in mine):
            self.listen()

    def on_screen_suspend(self, _event: events.ScreenSuspend) -> None:
        """End the tap when another screen is shown: it costs the sidecars CPU."""
        if not isinstance(self.app.screen, ModalScreen):
            self.workers.cancel_node(self)
            self._tapped = ""

    @work(exclusive=True, name="listen")
    async def listen(self) -> None:
        """Tap until the screen is left; after an outage again."""
        while True:
            try:
                async for event in await self.session.poller.call(self._open):
                    self.set_problem("")
                    self.add(self._requests_of(event))
                problem = "the control plane closed the tap"
            except (MeshError, OSError, RuntimeError) as error:
                problem = str(error)
            self._tapped = ""
            self.set_problem(f"{problem}; trying again")
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _open(self, client: Client) -> AsyncIterator[TapEvent | None]:
        return client.tap(self._service)

    def _requests_of(self, event: TapEvent | None) -> list[Request]:
        """The requests of an event that are shown here; notes what else it says."""
        if event is None:
            return []
        if event.request:
            return [event.request] if self._proxy in ("", event.request.proxy) else []
        if event.omitted:
            self._omitted += event.omitted
        else:
            missing = f"; not by {', '.join(event.not_tapping)}" if event.not_tapping else ""
            self._tapped = f"reported by {event.tapping} of {event.proxies} proxies{missing}"
        self.draw_filter()
        return []

    def matches(self, item: Request) -> bool:
        """All, or failed ones."""
        return item.failed or not self._failed_only

    def search_text(self, item: Request) -> str:
        """All that the row and the detail show."""
        return search_text(item)

    def search_labels(self, item: Request) -> str:
        """The labels of the instance that reports it."""
        return self.labels_of(item.proxy)

    def build_row(self, key: str, item: Request) -> TableRow:
        """The row of a request."""
        return request_row(key, item)

    def growing_texts(self, item: Request) -> Mapping[int, str]:
        """Request and flags."""
        return {3: request_line(item), 8: why_of(item)}

    def detail(self, item: Request) -> Content:
        """The request in full."""
        target = f"{item.host}{item.path}" if item.host else item.path
        facts = [
            f"{caller_of(item)} → {item.callee or item.service}",
            f"at {item.proxy}",
            format_milliseconds(item.duration),
            f"{item.attempts} attempts" if item.attempts > 1 else "",
            f"to {item.upstream_host}" if item.upstream_host else "",
            f"id {item.id}" if item.id else "",
            f"by {', '.join(item.policies)}" if item.policies else "",
            why_of(item),
            item.transport_failure or (item.details if item.failed else ""),
        ]
        text = sanitize("  ".join(filter(None, facts)))
        return Content.assemble(paint(sanitize(f"{item.method} {target}"), "strong"), f"  {text}")

    def source(self) -> Iterator[Content]:
        """Whose requests, and who reports them."""
        yield paint(f"of {sanitize(self._proxy or self._service)}", "accent")
        if self._failed_only:
            yield paint("failed only", "accent")
        if self._tapped:
            yield paint(sanitize(self._tapped), "dim")
        if self._omitted:
            yield paint(f"{self._omitted} more not shown", "partial")

    def action_failed(self) -> None:
        """Show only failed requests, or all."""
        self._failed_only = not self._failed_only
        self.draw_list()

    def action_trace(self) -> None:
        """The trace of the selected request."""
        request = self.item(self.query_one(Table).selected_key)
        if request and request.trace:
            self.session.go(TraceLocation(request.trace))

    def action_logs(self) -> None:
        """The logs of the same service or proxy."""
        self.session.go(LogsLocation(self._service, self._proxy))

    def on_table_row_selected(self, message: Table.RowSelected) -> None:
        """Enter: why it failed or took its time."""
        request = self.item(message.key)
        if request:
            self.explain(request)

    @work
    async def explain(self, request: Request) -> None:
        """Explain a request, and open the policy that the user chooses."""
        location = await self.app.push_screen_wait(
            WhyDialog(request_line(request), request.id or request.trace)
        )
        if location:
            self.session.go(location)
