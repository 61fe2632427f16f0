"""The box of a node as runs of text: border, symbol, name, and the lines of its card."""

from __future__ import annotations

from rich.cells import cell_len, split_graphemes

from meshwright.tui.format import pad, truncate
from meshwright.tui.graph.model import Density, Layout, NodeBox
from meshwright.tui.graph.scene import CellStyle, CellTone, NodeStyle, Scene


def split_cells(text: str) -> list[str]:
    """Text by cells: each character, and an empty string for each further cell that it takes."""
    cells: list[str] = []
    for start, end, width in split_graphemes(text)[0]:
        if width:
            cells += [text[start:end], *[""] * (width - 1)]
    return cells


def shorten(name: str, width: int) -> str:
    """A name cut to `width` cells; a long one keeps its beginning and its end."""
    cells = split_cells(name)
    if len(cells) <= width:
        return "".join(cells)
    after = (width - 1) // 2
    head, tail = cells[: width - 1 - after], cells[len(cells) - after :] if after else []
    if cells[len(head)] == "" and head:
        head = _drop_cut_character(head)
    while tail and tail[0] == "":
        tail = tail[1:]
    return f"{''.join(head)}…{''.join(tail)}"


def _drop_cut_character(cells: list[str]) -> list[str]:
    """Drop the wide character that is cut at the end."""
    last = max(n for n, char in enumerate(cells) if char)
    return cells[:last]


def box_row(box: NodeBox, y: int, layout: Layout, scene: Scene) -> list[tuple[str, CellStyle]]:
    """One row of a box."""
    node = scene.nodes.get(box.name, NodeStyle())
    selected = box.name == scene.selected_node and scene.selected_link is None
    calm = node.border or "off"
    border_tone: CellTone = "accent" if selected else calm if node.tone in ("good", "off") else node.tone
    border = CellStyle(border_tone, selected)
    inner = box.width - 2
    if layout.density.border and y in (box.y, box.y + box.height - 1):
        return _border_row(node, inner, border, top=y == box.y)
    left, right = _sides(box, y, layout.density, selected=selected)
    inner = box.width - len(left) - len(right)
    if y != box.row:
        return [(left, border), *_card_row(node, y - box.row - 1, inner, selected=selected), (right, border)]
    loop = "∞" if box.name in layout.self_loops else ""
    width = inner - 2 - 2 * bool(loop)
    name = pad(shorten(box.name, width), width) + (f" {loop}" if loop else "")
    text = CellStyle("strong" if selected else "plain", selected)
    return [
        (left, border),
        (node.symbol, CellStyle(node.tone, selected)),
        ("►" if selected and not left else " ", text),
        (name, text),
        (right, border),
    ]


def _card_row(node: NodeStyle, n: int, width: int, *, selected: bool) -> list[tuple[str, CellStyle]]:
    """The nth line below a node's name, in `width` cells."""
    cells: list[tuple[str, CellStyle]] = []
    for text, tone in node.lines[n] if n < len(node.lines) else ():
        shown = truncate(text, width)
        cells.append((shown, CellStyle(tone, selected)))
        width -= cell_len(shown)
    return [*cells, (" " * width, CellStyle(selected=selected))]


def _border_row(node: NodeStyle, inner: int, border: CellStyle, *, top: bool) -> list[tuple[str, CellStyle]]:
    """The upper or lower edge of a box, `inner` cells between its corners."""
    corners = "┏━┓┗┛" if border.selected else "╭─╮╰╯"
    line = corners[1]
    if top:
        return [(corners[0] + line * inner + corners[2], border)]
    badge = f" {node.badge} " if node.badge and cell_len(node.badge) + 4 <= inner else ""
    rest = line * (inner - cell_len(badge) - 1)
    return [
        (corners[3] + rest, border),
        (badge, CellStyle(node.tone, border.selected)),
        (line + corners[4], border),
    ]


def _sides(box: NodeBox, y: int, density: Density, *, selected: bool) -> tuple[str, str]:
    """The left and right edges of a box in one row."""
    if density.border:
        line, blank = "┃" if selected else "│", " " if density.frame == "box" else ""
        return line + blank, blank + line
    if density.frame != "bracket":
        return "", ""
    if selected:
        return "▐", "▌"
    if box.height > 1:
        return ("┌", "┐") if y == box.y else ("└", "┘")
    return "[", "]"
