"""The words for a kind of policy: as users write it in commands and in the admin API."""

from __future__ import annotations

from meshwright.control_plane.errors import NotFoundError
from meshwright.control_plane.policies.registry import kind_names, kinds
from meshwright.control_plane.policies.validation_messages import format_value, suggestion


def kind_of(word: str) -> str:
    """The kind for a word in any case, singular or plural; raises NotFoundError. It loads no other kind."""
    if kind := kinds().name_of(word):
        return kind
    advice = suggestion(word, kind_names(), f"known are {', '.join(kind_names())}")
    raise NotFoundError(f"no such kind: {format_value(word)}: {advice}")
