"""How the help of a command and its usage errors read."""

from __future__ import annotations

import re
from typing import Any

from typer import core

Click = Any
"""Typer bundles its own copy of click and does not export the types."""

_REWORDED = (
    (re.compile(r"^Value error, "), ""),
    (re.compile(r"^Input should be a valid (integer|number).*$"), r"not a valid \1"),
    (re.compile(r"^Input should be greater than or equal to (.+)$"), r"must be \1 or more"),
    (re.compile(r"^Input should be less than or equal to (.+)$"), r"must be \1 or less"),
    (re.compile(r"^Input should be (?=')"), "must be "),
)


class MeshCommand(core.TyperCommand):
    """A command whose usage line is written as in a man page: NAME, [NAME], NAME..."""

    def collect_usage_pieces(self, ctx: Click) -> list[str]:
        """The words after the command's name in its usage line."""
        arguments = [param for param in self.get_params(ctx) if param.param_type_name == "argument"]
        return ["[OPTIONS]", *(_argument_name(argument) for argument in arguments)]

    def format_options(self, ctx: Click, formatter: Click) -> None:
        """The help of arguments and options. An argument's type is in its help text."""
        arguments, options = [], []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param.param_type_name == "argument":
                arguments.append((_argument_name(param), record[1]))
            else:
                options.append(record)
        for title, records in (("Arguments", arguments), ("Options", options)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _argument_name(argument: Click) -> str:
    name = argument.metavar or argument.name.upper()
    name = f"{name}..." if argument.nargs != 1 else name
    return name if argument.required else f"[{name}]"


def plain_message(message: str) -> str:
    """The message of a usage error without the validator's vocabulary."""
    for pattern, replacement in _REWORDED:
        message = pattern.sub(replacement, message)
    return message
