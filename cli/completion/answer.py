"""What may follow the words before the cursor: `python -m meshwright.cli.completion.answer WORD...`.

A shell runs this on every Tab, so it imports neither typer nor pydantic: the commands are in commands.json,
which `make reference` writes from the code, and names come from one call of the admin API. It prints a
candidate a line, with a tab before its description; exit code 1 means that a path belongs here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from meshwright.cli.completion import names

PATHS = frozenset({"FILE", "PATH", "DIR", "COMMAND"})
"""Words for values that are paths."""

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CursorPosition:
    """Where the cursor is: the command's entry in commands.json, its name, and its words before the cursor.

    `option` is the option whose value is at the cursor, empty at an argument.
    """

    entry: Entry
    command: str
    arguments: tuple[str, ...]
    option: str
    state: Path | None


def candidates(tree: Entry, words: Sequence[str]) -> list[str] | None:
    """What the last of the words may become, each with an optional description; None for a path."""
    *before, current = split_values(words)
    position = locate(tree, before)
    values: Sequence[str] | None
    if position.option:
        values = _values(tree, position, position.entry["options"][position.option], current)
    elif current.startswith("-"):
        values = sorted(position.entry["options"])
    elif position.entry["commands"]:
        values = [f"{name}\t{entry['summary']}" for name, entry in position.entry["commands"].items()]
    else:
        values = _argument(tree, position, current)
    if values is None:
        return None
    attached = "" if words[-1] == "=" else words[-1].removesuffix(current)
    return [attached + each for each in values if each.startswith(current)]


def split_values(words: Sequence[str]) -> list[str]:
    """The words with `--option=value` as two; bash passes it as three, and as two before the value begins."""
    split: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        split += [name, value] if equals and name.startswith("--") else [word]
    if split[-1] == "=":
        split[-1] = ""
    return [word for word in split if word != "="]


def locate(tree: Entry, before: Sequence[str]) -> CursorPosition:
    """Follow the words before the cursor down the tree of commands."""
    entry, command, option, state = tree, "", "", None
    arguments: list[str] = []
    for word in before:
        if option:
            state = Path(word) if option == "--state" else state
            if option == "--context":
                os.environ["MESH_CONTEXT"] = word
            option = ""
        elif word in entry["options"]:
            option = word if entry["options"][word] is not None else ""
        elif word in entry["commands"]:
            entry, command = entry["commands"][word], word
        else:
            arguments.append(word)
    return CursorPosition(entry, command, tuple(arguments), option, state)


def _argument(tree: Entry, position: CursorPosition, current: str) -> Sequence[str] | None:
    """Values of the argument at the cursor; the last one of a command may repeat."""
    expected = position.entry["arguments"]
    index = len(position.arguments)
    if index >= len(expected) and not position.entry["repeats"]:
        return []
    return _values(tree, position, expected[min(index, len(expected) - 1)], current)


def _values(
    tree: Entry, position: CursorPosition, value: str | list[str], current: str
) -> Sequence[str] | None:
    """What a value may be: one of a list, a path (None), or what its word in the help stands for."""
    if isinstance(value, list):
        return value
    if value in PATHS:
        return None
    if value in {"KIND", "KIND/NAME"}:
        kind, slash, _ = current.partition("/")
        return [f"{kind}/{name}" for name in names.policies(kind, position.state)] if slash else tree["kinds"]
    if value == "NAME" and not position.option and position.entry["arguments"][0] == "KIND":
        return names.policies(position.arguments[0], position.state)
    return names.live(value, position.option, position.command, position.state)


def main(words: Sequence[str]) -> int:
    """Print the candidates for the last of the words."""
    tree = json.loads((files("meshwright.cli.completion") / "commands.json").read_text(encoding="utf-8"))
    values = candidates(tree, words or [""])
    if values is None:
        return 1
    sys.stdout.write("".join(f"{' '.join(each.splitlines())}\n" for each in values))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
