"""Who asks: what the token of the request that is being answered may do."""

from __future__ import annotations

from contextvars import ContextVar

from meshwright.control_plane.api.auth import Rights

CALLER_RIGHTS: ContextVar[Rights] = ContextVar("rights", default="all")
"""Set for every request that was let in, before its route answers."""
