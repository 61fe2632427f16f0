"""What a worker process runs in tests. It imports this module by its name."""

from __future__ import annotations

import os
import time
from pathlib import Path

from meshwright.control_plane.errors import InputError


def total(*numbers: int) -> int:
    """The sum."""
    return sum(numbers)


def environment() -> dict[str, str]:
    """The environment of the process."""
    return dict(os.environ)


def refuse() -> None:
    """Raises InputError."""
    raise InputError("this is refused")


def crash() -> None:
    """Raises what is not a MeshError."""
    raise ZeroDivisionError


def spin(file: str) -> None:
    """Write the process's id and use the CPU without end."""
    Path(file).write_text(str(os.getpid()))
    while True:
        pass


def sleep(file: str) -> None:
    """Write the process's id and wait without end."""
    Path(file).write_text(str(os.getpid()))
    while True:
        time.sleep(1)


def allocate(bytes_: int) -> int:
    """Use that much memory."""
    return len(bytearray(bytes_))


def large(bytes_: int) -> bytes:
    """A result of that size."""
    return bytes(bytes_)
