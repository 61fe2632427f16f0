"""The dark, light and high-contrast themes, and the style of each tone.

With NO_COLOR Textual removes all colour; symbols and words remain.
"""

from __future__ import annotations

from collections.abc import Mapping

from textual.content import Content
from textual.theme import Theme

from meshwright.tui.format import StatusLabel, Tone


def _hues(*colours: str) -> dict[str, str]:
    """Colours that tell callers apart: neither green, yellow nor red, which mean states."""
    return {f"mesh-hue-{n}": colour for n, colour in enumerate(colours, 1)}


DARK = Theme(
    name="mesh-dark",
    primary="#6ea8fe",
    secondary="#8b949e",
    accent="#79c0ff",
    success="#56d364",
    warning="#e3b341",
    error="#ff7b72",
    foreground="#d7dde5",
    background="#0d1117",
    surface="#0d1117",
    panel="#161b22",
    dark=True,
    variables={
        "mesh-muted": "#8b949e",
        "mesh-cursor": "#1f3a5f",
        "mesh-line": "#30363d",
        **_hues("#6ea8fe", "#d2a8ff", "#39c5cf", "#f778ba", "#d7dde5"),
    },
)
LIGHT = Theme(
    name="mesh-light",
    primary="#0550ae",
    secondary="#57606a",
    accent="#0550ae",
    success="#116329",
    warning="#7d4e00",
    error="#b3151f",
    foreground="#1f2328",
    background="#ffffff",
    surface="#ffffff",
    panel="#f0f3f6",
    dark=False,
    variables={
        "mesh-muted": "#57606a",
        "mesh-cursor": "#cfe4ff",
        "mesh-line": "#c4cbd3",
        **_hues("#0550ae", "#6639ba", "#0b6e75", "#99286e", "#1f2328"),
    },
)
CONTRAST = Theme(
    name="mesh-contrast",
    primary="#00ffff",
    secondary="#ffffff",
    accent="#00ffff",
    success="#00ff00",
    warning="#ffff00",
    error="#ff6060",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    dark=True,
    variables={
        "mesh-muted": "#d0d0d0",
        "mesh-cursor": "#004cff",
        "mesh-line": "#ffffff",
        **_hues("#8ab4ff", "#d9a6ff", "#00ffff", "#ff8ad8", "#ffffff"),
    },
)
THEMES: Mapping[str, Theme] = {"dark": DARK, "light": LIGHT, "contrast": CONTRAST}
"""By the names that `--theme` accepts."""

STYLES: Mapping[Tone, str] = {
    "plain": "",
    "good": "$success",
    "partial": "$warning",
    "bad": "bold $error",
    "off": "$mesh-muted",
    "dim": "$mesh-muted",
    "strong": "bold",
    "accent": "$accent",
}
"""Each tone in Textual's style language."""


def paint(text: str, tone: Tone = "plain") -> Content:
    """Text in a tone."""
    style = STYLES[tone]
    return Content.styled(text, style) if style else Content(text)


def status_text(label: StatusLabel, extra: str = "") -> Content:
    """Symbol and word of a state in its colour."""
    return paint(f"{label.symbol} {label.text}{extra}".strip(), label.tone)
