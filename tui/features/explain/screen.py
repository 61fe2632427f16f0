"""What becomes of a request between two services, before it is sent, and which policy decides each step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Input, Label, Static

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.call_explanation import CallExplanation
from meshwright.control_plane.errors import MeshError
from meshwright.tui import keys
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.explain.lines import choices, deciding_policies, explanation_lines
from meshwright.tui.features.explain.question import (
    Question,
    gateway_names,
    like_last_request,
    usual_caller,
)
from meshwright.tui.format import sanitize
from meshwright.tui.keys import bind
from meshwright.tui.navigation import ExplainLocation, PolicyLocation
from meshwright.tui.screen import LOADING, MeshScreen
from meshwright.tui.theme import paint

REQUEST_LIMIT = 200
"""Newest requests of the caller among which one to the callee is looked for."""

NO_CALLER = "nobody calls it: write the name of a service or gateway as `from`"


class ExplainScreen(MeshScreen):
    """A form for the request, and the steps that the proxies take with it."""

    HELP: ClassVar[str] = (
        "What the proxies of the mesh would do with a request, by the configuration that they are sent; none "
        "is made. It starts with the newest request from the caller. e edits it: Tab goes to the next field, "
        "Enter explains. Headers are `name: value` and claims of a token `name=value`, with `;` between "
        "them. Through a gateway, its routes say which service is called. p opens one of the policies that "
        "decide."
    )
    DEFAULT_CSS = """
    ExplainScreen .fields { height: 1; padding: 0 1; background: $panel; }
    ExplainScreen .fields Label { width: 9; color: $mesh-muted; }
    ExplainScreen .fields Label.next { width: 8; padding: 0 1; }
    ExplainScreen .fields Input, ExplainScreen .fields Input:focus {
        border: none; height: 1; width: 1fr; padding: 0; background: $panel;
    }
    ExplainScreen .fields Input:focus { background: $mesh-cursor; }
    ExplainScreen VerticalScroll { height: 1fr; padding: 1 1 0 1; scrollbar-size-vertical: 1; }
    ExplainScreen VerticalScroll Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.EDIT, "edit"),
        bind(keys.POLICIES, "policies"),
    ]

    def __init__(self, location: ExplainLocation) -> None:
        super().__init__(location)
        self._callee = location.callee
        self._caller = location.caller
        self._explanation: CallExplanation | None = None

    def compose_body(self) -> ComposeResult:
        """The fields and the steps."""
        with Horizontal(classes="fields"):
            yield Label("from")
            yield Input(id="caller", compact=True)
            yield Label("to", classes="next")
            yield Input(self._callee, id="callee", compact=True)
            yield Label("host", classes="next")
            yield Input(placeholder="default", id="host", compact=True)
        with Horizontal(classes="fields"):
            yield Label("request")
            yield Input(Question().request, id="request", compact=True)
        with Horizontal(classes="fields"):
            yield Label("headers")
            yield Input(placeholder="name: value; name: value", id="headers", compact=True)
            yield Label("claims", classes="next")
            yield Input(placeholder="of a token: name=value", id="claims", compact=True)
        with VerticalScroll():
            yield Static(paint(LOADING, "dim"), id="steps")

    def on_mount(self) -> None:
        """Explain the newest request of the usual caller."""
        super().on_mount()
        self.query_one(VerticalScroll).focus()
        self.begin()

    def on_resize(self, _event: Resize) -> None:
        """Wrap the steps at the new width."""
        self._draw()

    @property
    def question(self) -> Question:
        """What the fields say."""
        texts = {name: self.query_one(f"#{name}", Input).value.strip() for name in Question.__slots__}
        return Question(**texts)

    @work(exclusive=True, group="explain")
    async def begin(self) -> None:
        """Fill the fields by the newest request to the callee, and explain it."""
        topology = self.mesh_state.topology
        caller = self._caller or usual_caller(topology, self._callee)
        question = Question(caller, self._callee)
        if caller:
            requests = await self.session.call(
                lambda client: client.requests(service=caller, limit=REQUEST_LIMIT), quiet=True
            )
            question = like_last_request(question, requests or ())
        if not self.query("#steps"):  # the screen has been left
            return
        for name in Question.__slots__:
            self.query_one(f"#{name}", Input).value = getattr(question, name)
        await self._ask(question)

    @work(exclusive=True, group="explain")
    async def explain(self) -> None:
        """Explain what the fields say."""
        await self._ask(self.question)

    async def _ask(self, question: Question) -> None:
        self._explanation = None
        if not question.caller:
            self._show([paint(NO_CALLER, "partial")])
            return
        try:
            query = question.query(gateway_names(self.mesh_state.topology))
            self._explanation = await self.session.poller.call(lambda client: client.explain_call(query))
        except MeshError as error:
            self._show([paint(f"{signs.BAD} {sanitize(str(error))}", "bad")])
        else:
            self._draw()
            for steps in self.query(VerticalScroll):
                steps.scroll_home(animate=False)

    def _draw(self) -> None:
        if self._explanation is not None:
            self._show(explanation_lines(self._explanation, max(20, self.size.width - 3)))

    def _show(self, lines: Iterable[Content]) -> None:
        for text in self.query("#steps").results(Static):
            text.update(Content("\n").join(lines))

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter: explain, and go back to the steps."""
        message.stop()
        self.query_one(VerticalScroll).focus()
        self.explain()

    def back_one_step(self) -> bool:
        """From a field to the steps."""
        steps = self.query_one(VerticalScroll)
        if steps.has_focus:
            return False
        steps.focus()
        return True

    def action_edit(self) -> None:
        """Go to the request."""
        self.query_one("#request", Input).focus()

    @work(exclusive=True, group="policies")
    async def action_policies(self) -> None:
        """Choose one of the policies that decide, and open it."""
        policies = deciding_policies(self._explanation) if self._explanation else {}
        if not policies:
            self.notify("no policy decides: Envoy's defaults apply", markup=False)
            return
        names = list(policies)
        chosen = await self.app.push_screen_wait(ChooseOne("policies", choices(policies.values())))
        if chosen is not None:
            kind, _, name = names[chosen].partition("/")
            self.session.go(PolicyLocation(kind, name))
