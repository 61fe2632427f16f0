"""All rows of a layout: of boxes, of lines where they enter and leave each channel, and within it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tui.graph.channels import Channel, Pins, routed
from tui.graph.nets import Bend, Item, Join, Net, Woven
from tui.graph.ordering import Order
from tui.graph.placing import Slot, placed
from tui.graph.plan import Look
from tui.graph.sides import NO_SIDE, Side, Standing, arrival_rows, leaving_row, sides, standing


@dataclass(frozen=True, slots=True)
class Passage:
    """A channel with its lines: the row in which each net enters it, that in which each join leaves it."""

    enter: Mapping[Net, int]
    leave: Mapping[Join, int]
    channel: Channel


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows by item, and the passage between each two layers. `height` counts all rows in use."""

    left: Mapping[str, Side]
    right: Mapping[str, Side]
    stand: Mapping[str, Standing]
    slots: Mapping[Item, Slot]
    top: Mapping[Item, int]
    passages: tuple[Passage, ...]
    height: int

    def axis(self, item: Item) -> int:
        """The row of a node's name, or of a bend's line."""
        return self.top[item] + self.slots[item].axis

    def side(self, name: str, *, left: bool) -> Side:
        """What meets a node on one side."""
        return (self.left if left else self.right).get(name, NO_SIDE)


def rows(order: Order, woven: Woven, look: Look) -> Rows:
    """Rows for a graph whose layers are in order."""
    left, right = sides(woven)
    names = [item for items in order for item in items if not isinstance(item, Bend)]
    stand = {name: standing(left.get(name, NO_SIDE), right.get(name, NO_SIDE), look) for name in names}
    slots: dict[Item, Slot] = {
        item: Slot(1, 0) if isinstance(item, Bend) else stand[item].slot for items in order for item in items
    }
    top = placed(order, woven, slots)
    bare = Rows(left, right, stand, slots, top, (), 0)
    passages = tuple(_passage(bare, between, look.spacing) for between in woven.joins)
    last = max((top[item] + slots[item].height for item in top), default=0) - (look.gap if top else 0)
    height = max([last, *(one.channel.bottom for one in passages)], default=0)
    return Rows(left, right, stand, slots, top, passages, height)


def _passage(found: Rows, between: Iterable[Join], spacing: int) -> Passage:
    enter: dict[Net, int] = {}
    for join in between:
        item = join.left if join.net.forward else join.right
        enter[join.net] = (
            found.top[item]
            if isinstance(item, Bend)
            else leaving_row(
                found.side(item, left=not join.net.forward), found.axis(item), forward=join.net.forward
            )
        )
    leave: dict[Join, int] = {}
    for join in between:
        item = join.right if join.net.forward else join.left
        if isinstance(item, Bend):
            leave[join] = found.top[item]
        elif join not in leave:
            side = found.side(item, left=join.net.forward)
            leave.update(
                arrival_rows(side, found.top[item], found.slots[item], enter, forward=join.net.forward)
            )
    far: dict[Net, list[int]] = {}
    for join, row in leave.items():
        far.setdefault(join.net, []).append(row)
    pins = {
        net: Pins((enter[net],), tuple(sorted(ends)))
        if net.forward
        else Pins(tuple(sorted(ends)), (enter[net],))
        for net, ends in far.items()
    }
    return Passage(enter, leave, routed(pins, spacing))
