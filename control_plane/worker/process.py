"""Runs one function in a child process that has limits on time and memory and ends with its caller.

A thread would hold the interpreter's lock, could not be stopped and would delay the control plane's exit. A
process is killed when its caller is cancelled, gives all its memory back, and leaves the event loop alone.
It starts in about half a second.

Arguments and results travel as pickles. Both ends are this program, and nobody else has the pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import sys
from collections.abc import Callable
from typing import TypeVar

from meshwright.control_plane.errors import LimitExceededError, MeshError

SECONDS = 60.0
"""How long a function may take."""

MEMORY_BYTES = 1024 * 1024 * 1024
"""Address space of the process. It needs 300 MB before it starts to work."""

RESULT_BYTES = 16 * 1024 * 1024
"""Size of a result: more than anybody reads."""

ResultT = TypeVar("ResultT")


async def run_in_process(
    function: Callable[..., ResultT], *arguments: object, seconds: float = SECONDS
) -> ResultT:
    """The result of a module's function.

    Raises the function's MeshError, LimitExceededError if it takes too long, needs too much memory or has too
    large a result, and RuntimeError for any other failure.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "meshwright.control_plane.worker",
        str(round(seconds)),
        str(MEMORY_BYTES),
        str(RESULT_BYTES),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(pickle.dumps((function, arguments)))
    except TimeoutError:
        raise _too_long(seconds) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            # The event loop reaps the process; a cancelled caller must not wait for that.
    if process.returncode or not output:
        raise _failure(process.returncode, seconds)
    result: ResultT | MeshError = pickle.loads(output)  # noqa: S301  written by our own process
    if isinstance(result, MeshError):
        raise result
    return result


def _failure(status: int | None, seconds: float) -> Exception:
    """What the exit status of a process without a result means: a negative one is a signal."""
    if status == MEMORY_STATUS:
        return LimitExceededError("this needs too much memory: split it into smaller parts")
    if status is not None and status < 0:
        return _too_long(seconds)
    return RuntimeError(f"a worker process failed with status {status}")


def _too_long(seconds: float) -> LimitExceededError:
    return LimitExceededError(f"this takes longer than {seconds:g} s: split it into smaller parts")


MEMORY_STATUS = 12
"""Exit status of a process that ran out of memory (ENOMEM)."""
