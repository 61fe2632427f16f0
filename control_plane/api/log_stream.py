"""A stream for log lines that never raises: a full disk or a closed pipe loses lines, not the process.

Logs go to a file on the same disk as everything else. When it is full, a log line raises OSError wherever it
is written, and would end a task whose work has nothing to do with it.
"""

from __future__ import annotations

import contextlib
import io
from typing import TextIO, cast


class _LogStream(io.TextIOBase):
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed; the rest is tried again with the next line."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def log_stream(stream: TextIO) -> TextIO:
    """`stream` with failed writes and flushes ignored."""
    return cast(TextIO, _LogStream(stream))
