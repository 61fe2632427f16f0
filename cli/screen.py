"""A terminal's alternate screen, left as it was found: after Ctrl-C, an error, `kill` and Ctrl-Z too."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"

TERMINATED = 128 + signal.SIGTERM


def is_usable() -> bool:
    """Whether standard output is a terminal that can move its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def size() -> tuple[int, int]:
    """Columns and lines of the terminal as it is now."""
    found = shutil.get_terminal_size()
    return found.columns, found.lines


class Screen:
    """The alternate screen while it is shown."""

    def __init__(self, woken: int) -> None:
        self._woken = woken

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines and nothing else."""
        _write(_HOME + "\r\n".join(line + _END_OF_LINE for line in lines) + _REST)

    def wait(self, seconds: float) -> str:
        """The key that is pressed, `resize` when the terminal changes, or empty when the time is over."""
        deadline = time.monotonic() + seconds
        sources = [self._woken, *([sys.stdin.fileno()] if sys.stdin.isatty() else [])]
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select(sources, [], [], left)
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 64)
                return "resize"
            if ready:
                key = os.read(sys.stdin.fileno(), 64).decode("utf-8", "replace")
                if not key:
                    sources.remove(sys.stdin.fileno())
                    continue
                return key
        return ""


@contextlib.contextmanager
def alternate() -> Iterator[Screen]:
    """Show the alternate screen, read keys one by one, and put everything back."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, reader)
        stack.callback(os.close, writer)
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer, warn_on_full_buffer=False))
        quiet = _keys(stack)
        _on(stack, signal.SIGWINCH, lambda _number, _frame: None)
        _on(stack, signal.SIGTERM, _end)
        _on(stack, signal.SIGTSTP, lambda _number, _frame: _pause(quiet))
        stack.callback(_write, _LEAVE)
        _write(_ENTER)
        yield Screen(reader)


def _keys(stack: contextlib.ExitStack) -> Callable[[], Callable[[], None]]:
    """Let keys come at once and unseen. What is returned does it, and gives what takes it back."""
    if not sys.stdin.isatty():
        return lambda: lambda: None
    descriptor = sys.stdin.fileno()

    def quiet() -> Callable[[], None]:
        before = termios.tcgetattr(descriptor)
        tty.setcbreak(descriptor)
        return lambda: termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    stack.callback(quiet())
    return quiet


def _on(stack: contextlib.ExitStack, number: int, act: Callable[[int, FrameType | None], Any]) -> None:
    stack.callback(signal.signal, number, signal.signal(number, act))


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def _pause(quiet: Callable[[], Callable[[], None]]) -> None:
    """Ctrl-Z: give the terminal back, stop, and take it again when the shell lets us go on."""
    _write(_LEAVE)
    act = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, act)
    quiet()
    _write(_ENTER)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
