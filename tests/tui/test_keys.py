"""Keys have one meaning on every screen, and footer, help and palette show the same."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterator

import pytest
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode

import meshwright.tui
from meshwright.tui import keys, navigation
from meshwright.tui.app import DashboardApp
from meshwright.tui.command_palette import is_command
from meshwright.tui.dialogs.help import help_lines
from meshwright.tui.screen import MeshScreen
from meshwright.tui.widgets.key_footer import fit_hints, key_hints
from tests.tui.pilot import Dashboard, open_dashboard, screen_text, wait_until
from tests.tui.steps import press, wait_for_location

ALL_KEYS = [key for group in keys.GROUPS.values() for key in group]
OF_TEXTUAL = {keys.COMMANDS}
"""Keys that Textual binds."""

TRACE = navigation.TraceLocation("5f0e")
LOCATIONS: tuple[navigation.Location, ...] = (
    *map(navigation.TabLocation, navigation.TABS),
    navigation.ServiceLocation("inventory"),
    navigation.PolicyLocation("CircuitBreaker", "inventory-limits"),
    navigation.RevisionLocation(41),
    navigation.RolloutsLocation(),
    navigation.ProxyLocation("orders-1", "orders"),
    navigation.LogsLocation("inventory"),
    navigation.LiveRequestsLocation("inventory"),
    navigation.ExplainLocation("inventory", "orders"),
)


def own_bindings() -> Iterator[tuple[type[DOMNode], Binding]]:
    """Every binding that a class of the dashboard defines."""
    for module in pkgutil.walk_packages(meshwright.tui.__path__, "meshwright.tui."):
        if "__main__" not in module.name:
            importlib.import_module(module.name)
    for node in classes(DOMNode):
        if node.__module__.startswith("meshwright.tui."):
            for binding in vars(node).get("BINDINGS", ()):
                assert isinstance(binding, Binding)
                yield node, binding


def classes(base: type[DOMNode]) -> Iterator[type[DOMNode]]:
    """Its subclasses of any depth."""
    for each in base.__subclasses__():
        yield each
        yield from classes(each)


def test_a_key_is_in_the_table_once() -> None:
    names = Counter(name for key in ALL_KEYS for name in key.names.split(","))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_binding_is_in_the_table_with_its_word() -> None:
    listed = {(name, key.word) for key in ALL_KEYS for name in key.names.split(",")}
    strange = {
        f"{node.__name__}: {name} ({binding.description})"
        for node, binding in own_bindings()
        for name in binding.key.split(",")
        if (name, binding.description) not in listed
    }
    assert strange == set()


def test_no_key_of_the_table_is_unused() -> None:
    bound = {name for _, binding in own_bindings() for name in binding.key.split(",")}
    unused = [key.word for key in ALL_KEYS if not set(key.names.split(",")) <= bound]
    assert unused == [key.word for key in OF_TEXTUAL]


def test_keys_that_change_the_mesh_are_capital_letters() -> None:
    lower = {
        binding.key
        for node, binding in own_bindings()
        if issubclass(node, MeshScreen)
        and binding.action.partition("(")[0] in node.WRITE_ACTIONS
        and not binding.key.isupper()
    }
    assert lower == {keys.EDIT.names, keys.CHANGE.names}, (
        "they open an editor or a form, and nothing is applied without `y`"
    )


@pytest.mark.parametrize("location", LOCATIONS, ids=lambda location: location.title)
async def test_help_and_palette_have_every_key_and_the_footer_the_screens_own_first(
    location: navigation.Location,
) -> None:
    async with open_dashboard(size=(80, 24)) as (pilot, _):
        screen = await open_screen(pilot, location)
        bindings = [each.binding for each in screen.active_bindings.values() if each.enabled]
        mine = [binding for binding in bindings if keys.is_bound(binding)]
        text = "\n".join(line.plain for line in help_lines(screen))
        assert [binding.description for binding in mine if binding.description not in text] == []

        hints = fit_hints(key_hints(pilot.app.screen), 80)
        ranks = [keys.RANKS[hint.key] for hint in hints if not hint.pinned]
        assert ranks == sorted(ranks)
        assert hints[-1].description == keys.QUIT.word
        footer = screen_text(pilot).splitlines()[-1]
        assert all(f"{hint.label} {hint.description}" in footer for hint in hints)

        await press(pilot, "ctrl+p")
        commands = {binding.description for binding in mine if is_command(binding)}
        assert commands
        await wait_until(pilot, lambda: commands <= listed_commands(pilot.app))


async def open_screen(pilot: Dashboard, location: navigation.Location) -> MeshScreen:
    """The screen of a location, with the focus in it."""
    app = pilot.app
    assert isinstance(app, DashboardApp)
    app.go(location)
    await wait_for_location(pilot, location)
    await wait_until(pilot, lambda: app.focused is not None)
    await pilot.pause()
    assert isinstance(app.screen, MeshScreen)
    return app.screen


def listed_commands(app: App[None]) -> set[str]:
    """The names in the open palette."""
    lists = app.screen.query("CommandList")
    return {str(hit.hit.text) for each in lists for hit in each._options}  # type: ignore[attr-defined]
