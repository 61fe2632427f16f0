"""The rights of the caller whose request is being handled."""

from __future__ import annotations

from contextvars import ContextVar

from meshwright.control_plane.api.auth import Rights

CALLER_RIGHTS: ContextVar[Rights] = ContextVar("caller_rights", default="all")
"""Set for every authorized request before its handler runs."""
