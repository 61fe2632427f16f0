"""Waits for a control plane or store that is away for a moment, so that a mesh can be joined meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from meshwright.cli.errors import warn
from meshwright.cli.http import api_endpoint, call_api
from meshwright.cli.state_lock import holder
from meshwright.control_plane.api.calls import ApiCall
from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.config import Settings

JOIN_TIMEOUT = 60.0
"""Seconds to wait, unless the user says otherwise."""

RETRY_INTERVAL = 0.5

REPORT_INTERVAL = 10.0
"""Seconds between two lines about an error that stays the same."""

UNAVAILABLE = 503
"""Status of responses while the store is away, or the control plane is overloaded."""


def call_when_available(call: ApiCall, settings: Settings, state: Path | None, timeout: float) -> Any:
    """Make a call of the admin API, again and again while the control plane or its store is away.

    Says on standard error what it waits for. Raises UnreachableError at once if there is no mesh; that, or
    ApiError, after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    reported, report_at = "", 0.0
    while True:
        try:
            return call_api(call, state)
        except (UnreachableError, ApiError) as error:
            now = time.monotonic()
            if now >= deadline or not _may_return(error, settings, state):
                raise
            if str(error) != reported or now >= report_at:
                warn(f"mesh: {error}; trying again for up to {deadline - now:.0f} s")
                reported, report_at = str(error), now + REPORT_INTERVAL
        time.sleep(RETRY_INTERVAL)


def _may_return(error: Exception, settings: Settings, state: Path | None) -> bool:
    """Whether waiting helps: a mesh is known here, or is starting, and does not respond at present."""
    if isinstance(error, ApiError):
        return error.status == UNAVAILABLE
    try:
        api_endpoint(state)
    except UnreachableError:
        return holder(settings.state) is not None
    return True
