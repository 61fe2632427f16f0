"""Waiting, for tests that look at a dashboard from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

WITHIN = 60.0
"""Seconds for what takes a moment where nothing else runs."""


async def wait_until(condition: Callable[[], Any], what: str, within: float = WITHIN) -> Any:
    """The first true value of `condition`; fails the test when there is none in time."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.1)
    return found
