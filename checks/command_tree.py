"""The tree of commands that shell completion reads: options, arguments and their values, from the code."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from meshwright.cli.main import COMMANDS, LazyCommandGroup, command
from meshwright.cli.resources import PLURALS
from meshwright.control_plane.policies.registry import kinds

FILE = Path(__file__).resolve().parents[1] / "cli" / "completion" / "commands.json"


def text() -> str:
    """The text of cli/completion/commands.json."""
    tree = _entry(command(), "") | {"kinds": sorted((*PLURALS, *map(str.lower, kinds())))}
    return json.dumps(tree, indent=1) + "\n"


def _entry(target: Any, summary: str) -> dict[str, Any]:
    names = target.list_commands(None) if hasattr(target, "commands") else []
    arguments = [each for each in target.params if each.param_type_name == "argument"]
    options = [each for each in target.params if each.param_type_name == "option" and not each.hidden]
    return {
        "summary": summary,
        "commands": {name: _child(target, name) for name in names},
        "options": {"--help": None}
        | {name: None if each.is_flag else _values(each) for each in options for name in each.opts}
        | {name: None for each in options for name in each.secondary_opts},
        "arguments": [_values(each) for each in arguments],
        "repeats": any(each.nargs != 1 for each in arguments),
    }


def _child(parent: Any, name: str) -> dict[str, Any]:
    child = parent.get_command(None, name)
    top = isinstance(parent, LazyCommandGroup)
    return _entry(child, COMMANDS[name].summary if top else child.get_short_help_str(100))


def _values(param: Any) -> str | list[str]:
    """The values of a parameter: those of its enum, else the word that its help shows for it."""
    annotation = param.type_descriptor.annotation
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, Enum):
            return [str(member.value) for member in each]
    shown = param.metavar or param.name.upper()
    if "|" in shown and shown[0].islower():
        return [name + equals for name, equals, _ in (each.partition("=") for each in shown.split("|"))]
    return str(shown).removesuffix("...").strip("[]") if param.param_type_name == "argument" else str(shown)
