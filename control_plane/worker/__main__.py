"""`python -P -m meshwright.control_plane.worker SECONDS MEMORY RESULT`: the child process of `process.py`.

It reads a function and its arguments from standard input. The result, or each that a generator yields, or the
MeshError that was raised goes to standard output as a frame. Limits are in seconds of CPU and in bytes.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from meshwright.control_plane.errors import LimitExceededError, MeshError
from meshwright.control_plane.worker.process import FRAME, MEMORY_STATUS

NICENESS = 10
"""The control plane and the sidecars come first."""

PR_SET_PDEATHSIG = 1
# linux/prctl.h: the signal that a process gets when its parent ends.


def run(arguments: Sequence[str]) -> int:
    """Run one function; returns the exit status."""
    seconds, memory, result_bytes = map(int, arguments)
    _limit(seconds, memory)
    try:
        function, values = pickle.load(sys.stdin.buffer)  # noqa: S301  written by our own control plane
        for item in _items(function, values):
            _write(_pickled(item, result_bytes))
    except MemoryError:
        return MEMORY_STATUS
    _write(b"")
    return 0


def _items(function: Callable[..., object], values: tuple[object, ...]) -> Iterator[object]:
    """What a generator yields, or else the one result; a MeshError is the last item."""
    try:
        result = function(*values)
        if isinstance(result, Iterator):
            yield from result
        else:
            yield result
    except MeshError as error:
        yield error


def _pickled(item: object, limit: int) -> bytes:
    output = pickle.dumps(item)
    if len(output) <= limit:
        return output
    return pickle.dumps(
        LimitExceededError(f"the result is larger than {limit // 1024 // 1024} MiB: split it")
    )


def _write(frame: bytes) -> None:
    sys.stdout.buffer.write(FRAME.pack(len(frame)))
    sys.stdout.buffer.write(frame)
    sys.stdout.buffer.flush()


def _limit(seconds: int, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds + 1, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
