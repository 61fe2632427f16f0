"""Box-drawing characters: each of a cell's four arms is absent, light or heavy; Unicode has all 81."""

from __future__ import annotations

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
"""Arms of a cell as bits."""

HORIZONTAL, VERTICAL = LEFT | RIGHT, UP | DOWN

_TABLE = " ╵╹╷│╿╻╽┃╴┘┚┐┤┦┒┧┨╸┙┛┑┥┩┓┪┫╶└┖┌├┞┎┟┠─┴┸┬┼╀┰╁╂╾┵┹┭┽╃┱╅╉╺┕┗┍┝┡┏┢┣╼┶┺┮┾╄┲╆╊━┷┻┯┿╇┳╈╋"
# In the order of up + 3 down + 9 left + 27 right, each 0 absent, 1 light, 2 heavy (U+2500..U+257F).


def glyph(arms: int, heavy: int = 0) -> str:
    """The character of a cell with these arms; `heavy`: those of them that are heavy."""
    index = 0
    for bit, factor in ((UP, 1), (DOWN, 3), (LEFT, 9), (RIGHT, 27)):
        if arms & bit:
            index += factor * (2 if heavy & bit else 1)
    return _TABLE[index]
