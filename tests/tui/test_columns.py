"""`C` chooses the columns of a table; that of labels is shown only then."""

from __future__ import annotations

from tests.fakes.admin_api import FakeAdminApi
from tests.tui.pilot import Dashboard, open_dashboard, screen_text, wait_for_table, wait_until
from tests.tui.steps import LOCATIONS, choose, open_services, press, wait_for_location


def label_of_an_instance(api: FakeAdminApi) -> str:
    labels = next(each.labels for each in api.mesh.instances if each.labels)
    name, value = next(iter(labels.items()))
    return f"{name}={value}"


async def test_labels_are_a_column_of_services_and_sidecars() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, api):
        label = label_of_an_instance(api)
        await open_services(pilot)
        await shows_labels_once_chosen(pilot, label)
        await press(pilot, "5")
        await wait_for_location(pilot, LOCATIONS[4])
        await wait_for_table(pilot)
        await shows_labels_once_chosen(pilot, label)


async def shows_labels_once_chosen(pilot: Dashboard, label: str) -> None:
    assert label not in screen_text(pilot)
    await toggle(pilot, "labels")
    await wait_until(pilot, lambda: label in screen_text(pilot))


async def toggle(pilot: Dashboard, title: str) -> None:
    """Show or hide a column."""
    await choose(pilot, "C", title, closes=False)
    await press(pilot, "escape")


async def test_a_column_is_hidden_and_stays_so_while_figures_change() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        table = await open_services(pilot)
        heads = table.region.y
        assert "mTLS" in screen_text(pilot).splitlines()[heads]
        await toggle(pilot, "mTLS")
        await wait_until(pilot, lambda: "mTLS" not in screen_text(pilot).splitlines()[heads])
        await press(pilot, "r")
        assert "mTLS" not in screen_text(pilot).splitlines()[heads]
        await toggle(pilot, "mTLS")
        await wait_until(pilot, lambda: "mTLS" in screen_text(pilot).splitlines()[heads])
