"""Options that several commands share, declared once as a dataclass whose fields are the options."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

Command = Callable[..., None]


def option_group(parameter: str, group: type[Any]) -> Callable[[Command], Command]:
    """A decorator: the command gets the options of `group`, and `parameter` with their values.

    Fields of `group` are annotated as Typer's options and have defaults.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        hints = typing.get_type_hints(command, include_extras=True)
        options = typing.get_type_hints(group, include_extras=True)
        parameters = [
            item.replace(annotation=hints[name])
            for name, item in signature.parameters.items()
            if name != parameter
        ]
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=options[field.name],
            )
            for field in dataclasses.fields(group)
        ]

        @functools.wraps(command)
        def call(**values: Any) -> None:
            fields = {field.name: values.pop(field.name) for field in dataclasses.fields(group)}
            command(**values, **{parameter: group(**fields)})

        merged = inspect.Signature(parameters)
        call.__signature__ = merged  # type: ignore[attr-defined]
        call.__annotations__ = {name: item.annotation for name, item in merged.parameters.items()}
        del call.__wrapped__
        return call

    return decorate
