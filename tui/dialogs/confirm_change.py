"""Confirms a change: shows its policies, the affected sidecars and the diff, and asks for a message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.policies import ApplyResponse
from meshwright.tui import keys
from meshwright.tui.format import sanitize
from meshwright.tui.keys import bind
from meshwright.tui.revision_text import describe_changes
from meshwright.tui.theme import paint
from meshwright.tui.widgets.diff_highlight import diff_lines

CHANGES_SHOWN = 12
"""Changed policies that are named; further ones are counted."""

SIDECARS_SHOWN = 8
"""Affected sidecars that are named; further ones are counted."""

MESSAGE_LIMIT = 1000
"""Characters of a message that the API accepts."""


class ConfirmChange(ModalScreen[str | None]):
    """Returns the message if the user confirms, else None. `verb` names the action."""

    DEFAULT_CSS = """
    ConfirmChange { align: center middle; background: $background 60%; }
    ConfirmChange > Vertical {
        width: 96%; max-width: 120; height: auto; max-height: 96%;
        border: round $warning; padding: 0 1; background: $background;
    }
    ConfirmChange VerticalScroll { height: auto; max-height: 1fr; scrollbar-size-vertical: 1; }
    ConfirmChange VerticalScroll Static { height: auto; padding-bottom: 1; }
    ConfirmChange #message { height: 1; dock: bottom; margin-bottom: 1; background: $panel; }
    ConfirmChange #message Label { width: 9; color: $accent; }
    ConfirmChange Input, ConfirmChange Input:focus {
        border: none; height: 1; padding: 0; background: $panel;
    }
    ConfirmChange #keys { height: 1; dock: bottom; text-wrap: nowrap; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.CONFIRM, "confirm"),
        bind(keys.EDIT, "edit_message"),
        bind(keys.QUIT, "cancel"),
        bind(keys.BACK, "back"),
    ]

    def __init__(
        self,
        title: str,
        preview: ApplyResponse,
        verb: str,
        *,
        message: str = "",
        notes: Content | None = None,
    ) -> None:
        super().__init__()
        self._title = title
        self._preview = preview
        self._verb = verb
        self._message = message
        self._notes = notes

    def compose(self) -> ComposeResult:
        """The preview, the message and the keys."""
        with Vertical() as box:
            box.border_title = Content(self._title)
            with VerticalScroll():
                notes = [self._notes, Content("")] if self._notes else []
                yield Static(Content("\n").join([*notes, *preview_lines(self._preview)]))
            with Horizontal(id="message"):
                yield Label("message: ")
                yield Input(
                    self._message,
                    placeholder="why, for the history",
                    compact=True,
                    max_length=MESSAGE_LIMIT,
                )
            keys = (("y", self._verb), ("e", "edit the message"), ("Esc", "cancel"))
            parts = [Content.assemble(paint(key, "accent"), f" {action}") for key, action in keys]
            yield Static(Content("   ").join(parts), id="keys")

    def on_mount(self) -> None:
        """Focus the preview."""
        self.query_one(VerticalScroll).focus()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter: back to the preview; the change still needs confirmation."""
        message.stop()
        self.query_one(VerticalScroll).focus()

    def action_edit_message(self) -> None:
        """Focus the message."""
        self.query_one(Input).focus()

    def action_back(self) -> None:
        """Esc: from the message to the preview, then cancel."""
        if self.query_one(Input).has_focus:
            self.query_one(VerticalScroll).focus()
        else:
            self.dismiss(None)

    def action_cancel(self) -> None:
        """Change nothing."""
        self.dismiss(None)

    def action_confirm(self) -> None:
        """Confirm the change."""
        self.dismiss(self.query_one(Input).value.strip())


def preview_lines(preview: ApplyResponse) -> Iterator[Content]:
    """The result of a dry run: changed policies, affected sidecars, warnings, diff."""
    for change in describe_changes(preview.changed, CHANGES_SHOWN):
        yield Content.assemble(paint("• ", "accent"), sanitize(change))
    yield affected_sidecars(preview.affected_proxies)
    for warning in preview.warnings:
        yield paint(f"{signs.PARTIAL} {sanitize(warning)}", "partial")
    if preview.document_diff:
        yield Content("")
        yield from diff_lines(preview.document_diff)


def affected_sidecars(names: tuple[str, ...]) -> Content:
    """The sidecars whose configuration changes."""
    if not names:
        return Content.assemble(paint(f"{signs.OFF} ", "off"), "no connected sidecar is affected")
    shown = ", ".join(sanitize(name) for name in names[:SIDECARS_SHOWN])
    more = f" and {len(names) - SIDECARS_SHOWN} more" if len(names) > SIDECARS_SHOWN else ""
    count = "1 sidecar" if len(names) == 1 else f"{len(names)} sidecars"
    return Content.assemble(
        paint(f"{signs.PARTIAL} ", "partial"), f"{count} affected: ", paint(shown + more, "strong")
    )
