"""Waiting, for tests that observe a dashboard from outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

WITHIN = 60.0
"""Seconds in which a condition must hold; normally it takes a moment."""


async def wait_until(condition: Callable[[], Any], what: str, within: float = WITHIN) -> Any:
    """The first true value of `condition`; the test fails if there is none in time."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.1)
    return result
