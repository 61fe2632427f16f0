"""What the fields of a kind look like: found by walking its models, for error messages and documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `tuple[Rule, ...]` or `Rule | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model), None)


def model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model that the value at a path is an instance of; None where there is none."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        if current is None:
            return None
        named = [info for name, info in current.model_fields.items() if part in (info.alias, name)]
        current = model_in(named[0].annotation) if named else None
    return current


def field_names(model: type[BaseModel]) -> list[str]:
    """The fields of a model as they are written in YAML."""
    return [info.alias or name for name, info in model.model_fields.items()]
