"""What a worker process runs in tests. It imports this module by its name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
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


def count(file: str, number: int, bytes_: int) -> Iterator[tuple[int, bytes]]:
    """Yields numbers from 0, each with that many bytes; the file says how many were yielded."""
    for each in range(number):
        Path(file).write_text(str(each))
        yield each, bytes(bytes_)


def count_and_refuse(number: int) -> Iterator[int]:
    """Yields numbers from 0, and raises InputError."""
    yield from range(number)
    raise InputError("this is refused")
