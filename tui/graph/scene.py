"""How a layout looks at the moment: the tones, labels and figures that change while the boxes stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from meshwright.control_plane.api import signs
from meshwright.tui.format import Tone
from meshwright.tui.graph.graph import Link

CallerHue = Literal["hue-1", "hue-2", "hue-3", "hue-4", "hue-5"]
"""Colours of the theme that tell the lines of callers apart. None of them means a state."""

CALLER_HUES: tuple[CallerHue, ...] = get_args(CallerHue)

CellTone = Tone | CallerHue


class CellStyle(NamedTuple):
    """How a cell looks: a tone of the theme, and whether it is selected."""

    tone: CellTone = "plain"
    selected: bool = False


CardLine = tuple[tuple[str, Tone], ...]
"""A line of a node's box: texts, each in a tone."""


@dataclass(frozen=True, slots=True)
class EdgeStyle:
    """A link's current look.

    `rank` decides which line is drawn where two cross. `latency` is the end of the label, if that has one.
    """

    tone: CellTone = "dim"
    rank: int = 1
    label: str = ""
    latency: str = ""
    latency_tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class NodeStyle:
    """A node's current look.

    `badge` is drawn on the lower edge of its box, `lines` below the name, as far as the box has rows.
    `border`: the colour of the box's lines, if they have one of their own.
    """

    symbol: str = signs.OFF
    tone: Tone = "off"
    badge: str = ""
    lines: tuple[CardLine, ...] = ()
    border: CallerHue | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What changes between two layouts. A link that is not in `edges` leaves its cells empty."""

    edges: Mapping[Link, EdgeStyle] = field(default_factory=dict)
    nodes: Mapping[str, NodeStyle] = field(default_factory=dict)
    selected_node: str = ""
    selected_link: Link | None = None
