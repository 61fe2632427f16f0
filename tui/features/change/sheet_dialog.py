"""The form of a sheet: its fields with their current values, and the YAML that they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.control_plane.errors import InputError
from meshwright.tui import keys
from meshwright.tui.features.change.sheet import Edit, Sheet
from meshwright.tui.format import sanitize
from meshwright.tui.keys import bind
from meshwright.tui.theme import paint
from meshwright.tui.widgets.yaml_highlight import highlight_yaml

TEXT_LIMIT = 200
"""Characters of a field."""


class SheetDialog(ModalScreen[Mapping[str, str] | None]):
    """Returns the texts of the fields; None: cancelled. `problem`: why earlier texts were not applied."""

    DEFAULT_CSS = """
    SheetDialog { align: center middle; background: $background 60%; }
    SheetDialog > Vertical {
        width: 96%; max-width: 100; height: auto; max-height: 96%;
        border: round $accent; padding: 0 1; background: $background;
    }
    SheetDialog #notes { height: auto; margin-bottom: 1; }
    SheetDialog .field { height: 1; }
    SheetDialog Label { width: 22; color: $mesh-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    SheetDialog Input, SheetDialog Input:focus {
        border: none; height: 1; width: 1fr; padding: 0; background: $panel;
    }
    SheetDialog Input:focus { background: $mesh-cursor; }
    SheetDialog #effect { height: auto; max-height: 4; margin-top: 1; }
    SheetDialog VerticalScroll { height: auto; max-height: 1fr; margin: 1 0; scrollbar-size-vertical: 1; }
    SheetDialog VerticalScroll Static { height: auto; }
    SheetDialog #keys { height: 1; dock: bottom; text-wrap: nowrap; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        bind(keys.OPEN, "done"),
        Binding("down", "app.focus_next", keys.DOWN.word, show=False),
        Binding("up", "app.focus_previous", keys.UP.word, show=False),
        bind(keys.BACK, "dismiss(None)"),
    ]

    def __init__(self, sheet: Sheet, texts: Mapping[str, str], problem: str = "") -> None:
        super().__init__()
        self._sheet = sheet
        self._initial = texts
        self._problem = problem

    def compose(self) -> ComposeResult:
        """Notes, fields, the effect or the problem, and the YAML."""
        with Vertical() as box:
            box.border_title = Content(sanitize(self._sheet.title))
            notes = [paint(sanitize(self._sheet.place), "strong")]
            notes += [paint(sanitize(note), "dim") for note in self._sheet.notes]
            yield Static(Content("\n").join(notes), id="notes")
            for field in self._sheet.fields:
                with Horizontal(classes="field"):
                    yield Label(Content(sanitize(field.label)))
                    yield Input(
                        self._initial.get(field.key, ""),
                        placeholder=field.hint,
                        compact=True,
                        max_length=TEXT_LIMIT,
                        id=f"field-{field.key}",
                    )
            yield Static(id="effect")
            with VerticalScroll(can_focus=False):
                yield Static(id="yaml")
            keys = (("Enter", "preview the change"), ("tab", "next field"), ("Esc", "cancel"))
            parts = [Content.assemble(paint(key, "accent"), f" {action}") for key, action in keys]
            yield Static(Content("   ").join(parts), id="keys")

    def on_mount(self) -> None:
        """Begin in the first field."""
        self.query(Input).first().focus()
        self._draw()

    @property
    def texts(self) -> dict[str, str]:
        """The texts of the fields, by key."""
        return {field.key: self.query_one(f"#field-{field.key}", Input).value for field in self._sheet.fields}

    def on_input_changed(self, message: Input.Changed) -> None:
        """Show what the new texts make."""
        message.stop()
        if self.texts != self._initial:
            self._problem = ""
        self._draw()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter in a field: as anywhere."""
        message.stop()
        self.action_done()

    def action_done(self) -> None:
        """Return the texts, if they can be read."""
        if isinstance(self._edit(), Edit):
            self.dismiss(self.texts)

    def _edit(self) -> Edit | InputError:
        try:
            return self._sheet.build(self.texts)
        except InputError as error:
            return error

    def _draw(self) -> None:
        edit = self._edit()
        effect, yaml = self.query_one("#effect", Static), self.query_one("#yaml", Static)
        if isinstance(edit, InputError):
            effect.update(paint(f"{signs.BAD} {sanitize(str(edit))}", "bad"))
            return
        if self._problem:
            effect.update(paint(f"{signs.BAD} {sanitize(self._problem)}", "bad"))
        else:
            effect.update(paint(sanitize(edit.summary), "strong"))
        effect.display = bool(self._problem or edit.summary)
        yaml.update(highlight_yaml(sanitize_lines(dump_yaml(edit.documents))) if edit.documents else "")


def sanitize_lines(text: str) -> str:
    """A text of several lines without control characters."""
    return "\n".join(map(sanitize, text.split("\n")))
