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
import struct
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar, cast

from meshwright.control_plane.errors import LimitExceededError, MeshError

SECONDS = 60.0
"""How long a function may take."""

MEMORY_BYTES = 1024 * 1024 * 1024
"""Address space of the process. It needs 300 MB before it starts to work."""

RESULT_BYTES = 16 * 1024 * 1024
"""Size of a result, or of one that a generator yields: more than anybody reads."""

FRAME = struct.Struct("!Q")
"""The size of a pickled result, before it; 0 is the end."""

ResultT = TypeVar("ResultT")


async def run_in_process(
    function: Callable[..., ResultT], *arguments: object, seconds: float = SECONDS
) -> ResultT:
    """The result of a module's function.

    Raises the function's MeshError, LimitExceededError if it takes too long, needs too much memory or has too
    large a result, and RuntimeError for any other failure.
    """
    async with contextlib.aclosing(_results(function, arguments, seconds)) as results:
        async for result in results:
            return cast("ResultT", result)
    raise RuntimeError("a worker process had no result")


async def stream_from_process(
    function: Callable[..., Iterator[ResultT]], *arguments: object, seconds: float = SECONDS
) -> AsyncGenerator[ResultT, None]:
    """What a module's generator yields, while it runs; it waits for a caller that is slower.

    Limits and errors are those of `run_in_process`; each item may have RESULT_BYTES. Close the iterator
    (`contextlib.aclosing`) to end the process.
    """
    async with contextlib.aclosing(_results(function, arguments, seconds)) as results:
        async for result in results:
            yield cast("ResultT", result)


async def _results(
    function: Callable[..., object], arguments: tuple[object, ...], seconds: float
) -> AsyncGenerator[object, None]:
    deadline = asyncio.get_running_loop().time() + seconds
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
        async with asyncio.timeout_at(deadline):
            await _send(process.stdin, pickle.dumps((function, arguments)))
        while True:
            async with asyncio.timeout_at(deadline):
                frame = await _receive(process.stdout)
                if frame is None:
                    raise _failure(await process.wait(), seconds)
            if not frame:
                return
            result = pickle.loads(frame)  # noqa: S301  written by our own process
            if isinstance(result, MeshError):
                raise result
            yield result
    except TimeoutError:
        raise _too_long(seconds) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        # Nobody may read the rest: unread, the pipe of an ended process would stay open.
        await process.communicate()


async def _send(pipe: asyncio.StreamWriter | None, data: bytes) -> None:
    """Write all input. A process that ends before it has read that says by its status why."""
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            pipe.write(data)
            await pipe.drain()
            pipe.close()


async def _receive(pipe: asyncio.StreamReader | None) -> bytes | None:
    """The next frame, empty at the end; None if the process ends without one."""
    try:
        (length,) = FRAME.unpack(await pipe.readexactly(FRAME.size)) if pipe else (0,)
        return await pipe.readexactly(length) if pipe and length else b""
    except asyncio.IncompleteReadError:
        return None


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
