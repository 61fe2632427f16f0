"""The keys of the dashboard: each has one meaning on every screen, and one word in footer, help and palette.

Screens bind an action by `bind(keys.LOGS, "logs")`. Keys that change the mesh are capital letters, but `e`
and `c`, which only open an editor or a form. The table of docs/dashboard.md is written from `GROUPS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from textual.binding import Binding


class Key(NamedTuple):
    """`names`: Textual's names of the keys. `label`: how it is shown, if not by that name.

    `word` stands in footer, help and palette; `meaning` in the documentation.
    """

    names: str
    word: str
    meaning: str
    label: str = ""


UP = Key("up,k", "move", "one row up", "↑ k")
DOWN = Key("down,j", "move", "one row down", "↓ j")
LEFT = Key("left", "move", "left in the graph; in a trace or tree collapse the branch", "←")
RIGHT = Key("right", "move", "right in the graph; in a trace or tree expand the branch", "→")
PAGE_UP = Key("pageup", "page up", "one page up", "PgUp")
PAGE_DOWN = Key("pagedown", "page down", "one page down", "PgDn")
FIRST = Key("home,g", "first", "the first row", "Home g")
LAST = Key("end,G", "last", "the last row", "End G")
NEXT_EDGE = Key("tab", "edges", "the next pane or field; in the graph the next edge of the service", "Tab")
PREVIOUS_EDGE = Key("shift+tab", "previous edge", "the previous one", "shift+Tab")
OPEN = Key("enter", "open", "open what is selected; preview what a form says", "Enter")

LOGS = Key("l", "logs", "logs of the selected service or sidecar")
LIVE_REQUESTS = Key("T", "requests", "its requests as they occur")
TRACES = Key("t", "traces", "its traces; of a request its trace")
EXPLAIN = Key("E", "explain", "what becomes of a request, before it is sent")
WHY = Key("w", "why", "why a request failed: the newest of the selection, or the selected span")
HISTORY = Key("h", "history", "of a policy its revisions, of a service or sidecar its events")
SERVICE = Key("s", "service", "the service of the selected sidecar or span")
POLICIES = Key("p", "policies", "the policies in force there")
TOPOLOGY = Key("m", "topology", "the service in the topology")
REVISIONS = Key("H", "revisions", "the history of the whole mesh")
ROLLOUTS = Key("o", "rollouts", "the rollouts of the mesh")
DIFF = Key("d", "diff", "what changed since the selected revision")
COPY = Key("i", "copy ID", "copy the ID of the trace")
JAEGER = Key("J", "Jaeger", "open the trace in Jaeger")

FOCUS = Key("z", "focus", "only the neighbours of the selected service; again: one hop more")
VERSIONS = Key("v", "versions", "split services by version")
GROUP = Key("b", "group", "group services by a label or the beginning of their names")
SHOW_ALL = Key("a", "show all", "also idle services; every edge of a crowded graph")
COLLAPSE_ALL = Key("minus", "collapse all", "collapse all visits of a trace, or expand them", "-")
NEXT_FAILURE = Key("n", "next failure", "the next failed span")
PREVIOUS_FAILURE = Key("N", "previous failure", "the previous failed span")
FAILED = Key("x", "failed", "only what failed: traces, requests")
FILTER = Key("f", "filter", "choose what is listed: kinds, severities, durations, services, sources")
PAUSE = Key("space", "pause", "hold the list still, or show what has arrived since")
SORT = Key("greater_than_sign", "sort", "sort by the next column", ">")
SORT_BACK = Key("less_than_sign", "sort back", "sort by the previous column", "<")
REVERSE = Key("r", "reverse", "reverse the order")
COLUMNS = Key("C", "columns", "choose the columns of the table")
RELOAD = Key("u", "reload", "fetch the configuration of the sidecar again")

CHANGE = Key("c", "change", "weights, timeouts, retries, faults of the selected service or edge, in a form")
EDIT = Key("e", "edit", "edit the policy, the request to be explained, the message of a change")
PREVIEW = Key("ctrl+s", "preview", "in the editor: preview the change")
CONFIRM = Key("y", "confirm", "apply the change that is previewed")
ROLL_BACK = Key("B", "roll back", "roll the policy or the mesh back")
DELETE = Key("D", "delete", "delete the policy")
PROMOTE = Key("P", "promote", "move a rollout to its next step")
PROMOTE_FULLY = Key("F", "promote fully", "give the canary all requests")
HOLD = Key("Z", "hold, resume", "pause a rollout or a push in waves, or resume it")
ABORT = Key("A", "abort", "abort a rollout, or withdraw a revision that is being pushed in waves")
RESTART = Key("R", "restart", "begin a rollout again")

TABS = Key("1,2,3,4,5,6", "tabs", "a tab; again: its first screen", "1 – 6")
SEARCH = Key("slash", "search", "search the screen", "/")
GO_TO = Key("colon", "go to", "a service, sidecar, policy, revision or trace by name", ":")
EARLIER = Key("left_square_bracket", "past", "the mesh ten seconds earlier", "[")
LATER = Key("right_square_bracket", "later", "ten seconds later", "]")
MUCH_EARLIER = Key("left_curly_bracket", "5 min earlier", "five minutes earlier", "{")
MUCH_LATER = Key("right_curly_bracket", "5 min later", "five minutes later", "}")
NOW = Key("0", "now", "back to the mesh as it is")
COMMANDS = Key("ctrl+p", "commands", "all commands and themes")
BACK = Key("escape", "back", "back; closes the search or a dialog", "Esc")
HELP = Key("question_mark", "help", "what the screen shows, and its keys", "?")
QUIT = Key("q", "quit", "quit; closes a dialog")

GROUPS: Mapping[str, tuple[Key, ...]] = {
    "move": (
        OPEN, UP, DOWN, LEFT, RIGHT, PAGE_UP, PAGE_DOWN, FIRST, LAST, NEXT_EDGE, PREVIOUS_EDGE,
    ),
    "look into it": (
        WHY, LOGS, TRACES, EXPLAIN, POLICIES, LIVE_REQUESTS, HISTORY, SERVICE, TOPOLOGY, DIFF, COPY, JAEGER,
    ),
    "change": (
        CHANGE, EDIT, PREVIEW, CONFIRM, ROLL_BACK, DELETE, PROMOTE, PROMOTE_FULLY, HOLD, ABORT, RESTART,
    ),
    "choose what is shown": (
        FOCUS, VERSIONS, GROUP, NEXT_FAILURE, PREVIOUS_FAILURE, COLLAPSE_ALL, FAILED, FILTER, PAUSE,
        SHOW_ALL, SORT, SORT_BACK, REVERSE, COLUMNS, RELOAD, REVISIONS, ROLLOUTS,
    ),
    "everywhere": (
        TABS, SEARCH, GO_TO, EARLIER, LATER, MUCH_EARLIER, MUCH_LATER, NOW, COMMANDS, BACK, HELP, QUIT,
    ),
}  # fmt: skip
"""Every key, in the order of footer and help."""

RANKS: Mapping[str, int] = {
    name: rank
    for rank, key in enumerate(key for group in GROUPS.values() for key in group)
    for name in key.names.split(",")
}
"""The place of each key in that order, by Textual's name."""


WORDS: tuple[str, ...] = tuple(key.word for group in GROUPS.values() for key in group)
"""The word of each key, in that order."""


def bind(key: Key, action: str, *, show: bool = True, priority: bool = False) -> Binding:
    """A binding of the key. `show`: in the footer too. `priority`: before the focused widget's."""
    single = key.label if "," not in key.names else ""
    return Binding(key.names, action, key.word, show=show, key_display=single or None, priority=priority)


def is_bound(binding: Binding) -> bool:
    """Whether a binding is of these keys, rather than one of Textual's widgets."""
    rank = RANKS.get(binding.key)
    return rank is not None and binding.description == WORDS[rank]


def table() -> Iterator[str]:
    """The lines of the documentation's table."""
    yield "| key | word | meaning |"
    yield "|---|---|---|"
    for group, keys in GROUPS.items():
        yield f"| **{group}** | | |"
        for key in keys:
            yield f"| `{key.label or key.names}` | {key.word} | {key.meaning} |"
