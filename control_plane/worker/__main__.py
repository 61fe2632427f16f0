"""`python -P -m meshwright.control_plane.worker SECONDS MEMORY RESULT`: the child process of `process.py`.

It reads a function and its arguments from standard input and writes the result, or the MeshError that the
function raised, to standard output. Limits are in seconds of CPU and in bytes.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import sys
from collections.abc import Sequence

from meshwright.control_plane.errors import LimitExceededError, MeshError
from meshwright.control_plane.worker.process import MEMORY_STATUS

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
        output = pickle.dumps(_call(function, values))
    except MemoryError:
        return MEMORY_STATUS
    if len(output) > result_bytes:
        size = f"{result_bytes // 1024 // 1024} MiB"
        output = pickle.dumps(LimitExceededError(f"the result is larger than {size}: split it"))
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()
    return 0


def _call(function: object, values: tuple[object, ...]) -> object:
    try:
        return function(*values)  # type: ignore[operator]
    except MeshError as error:
        return error


def _limit(seconds: int, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds + 1, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
