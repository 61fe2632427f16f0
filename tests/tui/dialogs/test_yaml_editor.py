"""The built-in editor: no key is lost or reordered, and one key does not discard the text."""

from __future__ import annotations

from textual.app import App
from textual.events import Key
from textual.widgets import TextArea

from meshwright.tui.dialogs.yaml_editor import YamlEditor
from tests.tui.pilot import wait_until

TEXT = "spec:\n  attempts: 5\n"


async def test_keys_are_handled_in_order() -> None:
    app = App[None]()
    results: list[str | None] = []
    async with app.run_test() as pilot:
        await app.push_screen(YamlEditor("Retry", TEXT), results.append)
        for key, character in (("pagedown", None), ("up", None), ("end", None), ("backspace", None)):
            app.post_message(Key(key, character))
        for key in "42":
            app.post_message(Key(key, key))
        app.post_message(Key("tab", "\t"))
        app.post_message(Key("ctrl+s", "\x13"))
        await wait_until(pilot, lambda: results)
    assert results == ["spec:\n  attempts: 42  \n"]


async def test_only_a_second_esc_discards_changes() -> None:
    app = App[None]()
    results: list[str | None] = []
    async with app.run_test() as pilot:
        await app.push_screen(YamlEditor("Retry", TEXT), results.append)
        await pilot.press("x", "escape")
        assert app.screen.query_one(TextArea).text == f"x{TEXT}"
        assert not results
        await pilot.press("escape")
        await wait_until(pilot, lambda: results)
        await app.push_screen(YamlEditor("Retry", TEXT), results.append)
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(results) == 2)
    assert results == [None, None]
