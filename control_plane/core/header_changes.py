"""Changes to the headers of a request as Envoy makes them, for questions about one that is not made. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeAlias

from meshwright.control_plane.core.text_match import text_matches
from meshwright.control_plane.envoy import v3

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Headers as sent: names in any case, with values."""

Format: TypeAlias = Callable[[str], str | None]
"""The text of one of Envoy's commands, such as `REQ(:PATH)`; None if only Envoy knows it."""

Changing: TypeAlias = v3.RouteConfiguration | v3.VirtualHost | v3.Route | v3.WeightedCluster.ClusterWeight

_COMMAND = re.compile(r"%([A-Z_]+(?:\([^)]*\))?(?::[0-9]+)?)%|%%")


def unknown(_command: str) -> None:
    """For callers that know the request alone: a header with a command is left out."""
    return


def with_changes(headers: Headers, target: Changing, text: Format = unknown) -> Headers:
    """The headers after those that one place removes, then overwrites, then adds.

    A header whose value `text` does not know is left out.
    """
    removed = {name.lower() for name in target.request_headers_to_remove}
    headers = tuple(pair for pair in headers if pair[0].lower() not in removed)
    options = list(target.request_headers_to_add)
    overwriting = [item for item in options if item.append_action in _OVERWRITING]
    for option in (*overwriting, *(item for item in options if item.append_action not in _OVERWRITING)):
        headers = with_option(headers, option, text)
    return headers


_OVERWRITING = (v3.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD, v3.HeaderValueOption.OVERWRITE_IF_EXISTS)


def with_mutations(
    headers: Headers, mutations: Iterable[v3.ConfigHeaderMutation], text: Format = unknown
) -> Headers:
    """The headers after mutations, one after the other."""
    for mutation in mutations:
        match mutation.WhichOneof("action"):
            case "remove":
                headers = _without(headers, mutation.remove)
            case "remove_on_match":
                matcher = mutation.remove_on_match.key_matcher
                headers = tuple(pair for pair in headers if not text_matches(matcher, pair[0].lower()))
            case "append":
                headers = with_option(headers, mutation.append, text)
    return headers


def with_option(headers: Headers, option: v3.HeaderValueOption, text: Format = unknown) -> Headers:
    """The headers after one is set or added."""
    name, value = option.header.key.lower(), formatted(option.header.value, text)
    exists = any(key.lower() == name for key, _ in headers)
    actions = v3.HeaderValueOption
    if option.append_action == actions.OVERWRITE_IF_EXISTS_OR_ADD and value != "":
        headers = _without(headers, name)
    elif option.append_action == actions.OVERWRITE_IF_EXISTS:
        if not exists:
            return headers
        headers = _without(headers, name)
    elif option.append_action == actions.ADD_IF_ABSENT and exists:
        return headers
    return (*headers, (name, value)) if value else headers


def formatted(template: str, text: Format) -> str | None:
    """The text of a format; None if it has a command that `text` does not know."""
    parts: list[str] = []
    position = 0
    for command in _COMMAND.finditer(template):
        parts.append(template[position : command.start()])
        value = text(command[1]) if command[1] else "%"
        if value is None:
            return None
        parts.append(value)
        position = command.end()
    return "".join((*parts, template[position:]))


def _without(headers: Headers, name: str) -> Headers:
    return tuple(pair for pair in headers if pair[0].lower() != name.lower())
