"""The fields of a kind, found by walking its models, for error messages and documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `tuple[Rule, ...]` or `Rule | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    models = (model_in(argument) for argument in get_args(annotation))
    return next((model for model in models if model), None)


def model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model of the value at a path; None where there is none."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        if current is None:
            return None
        fields = [info for name, info in current.model_fields.items() if part in (info.alias, name)]
        current = model_in(fields[0].annotation) if fields else None
    return current


def field_names(model: type[BaseModel]) -> list[str]:
    """The fields of a model as YAML writes them."""
    return [info.alias or name for name, info in model.model_fields.items()]
