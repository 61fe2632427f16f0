"""The dashboard's own editor: nothing typed is lost or misplaced, nor thrown away by one key."""

from __future__ import annotations

from textual.app import App
from textual.events import Key
from textual.widgets import TextArea

from meshwright.tui.dialogs.yaml_editor import YamlEditor
from tests.tui.pilot import wait_until

TEXT = "spec:\n  attempts: 5\n"


async def test_keys_are_done_in_the_order_in_which_they_came() -> None:
    app = App[None]()
    found: list[str | None] = []
    async with app.run_test() as pilot:
        await app.push_screen(YamlEditor("Retry", TEXT), found.append)
        for key, character in (("pagedown", None), ("up", None), ("end", None), ("backspace", None)):
            app.post_message(Key(key, character))
        for key in "42":
            app.post_message(Key(key, key))
        app.post_message(Key("tab", "\t"))
        app.post_message(Key("ctrl+s", "\x13"))
        await wait_until(pilot, lambda: found)
    assert found == ["spec:\n  attempts: 42  \n"]


async def test_what_was_written_is_thrown_away_by_a_second_esc_alone() -> None:
    app = App[None]()
    found: list[str | None] = []
    async with app.run_test() as pilot:
        await app.push_screen(YamlEditor("Retry", TEXT), found.append)
        await pilot.press("x", "escape")
        assert app.screen.query_one(TextArea).text == f"x{TEXT}"
        assert not found
        await pilot.press("escape")
        await wait_until(pilot, lambda: found)
        await app.push_screen(YamlEditor("Retry", TEXT), found.append)
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(found) == 2)
    assert found == [None, None]
