"""A live screen in the terminal: Rich's alternate screen, with keys, resizing, Ctrl-Z and SIGTERM."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live

RESIZE = "resize"
"""What `LiveScreen.wait` returns after the window has another size."""

TERMINATED = 128 + signal.SIGTERM


def is_usable() -> bool:
    """Whether stdout is a terminal that can move its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class LiveScreen:
    """An alternate screen that shows one renderable. Use it as a context manager through `live_screen`."""

    def __init__(self, console: Console, wakeup_fd: int) -> None:
        self._console = console
        self._wakeup_fd = wakeup_fd
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False,
            vertical_overflow="crop",
        )  # fmt: skip

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal now."""
        width, height = self._console.size
        return width, height

    def start(self) -> None:
        """Enter the alternate screen."""
        self._live.start()

    def stop(self) -> None:
        """Leave the alternate screen."""
        self._live.stop()

    def show(self, renderable: RenderableType) -> None:
        """Replace the contents of the screen."""
        self._live.update(renderable, refresh=True)

    def wait(self, seconds: float) -> str:
        """The next key, RESIZE, or an empty string when the time is up."""
        deadline = time.monotonic() + seconds
        sources = [self._wakeup_fd, *([sys.stdin.fileno()] if sys.stdin.isatty() else [])]
        while (remaining := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select(sources, [], [], remaining)
            if self._wakeup_fd in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wakeup_fd, 64)
                return RESIZE
            if ready:
                key = os.read(sys.stdin.fileno(), 64).decode("utf-8", "replace")
                if not key:
                    sources.remove(sys.stdin.fileno())
                    continue
                return key
        return ""


@contextlib.contextmanager
def live_screen() -> Iterator[LiveScreen]:
    """Show a live screen. The terminal is restored however the block ends, SIGTERM included."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, reader)
        stack.callback(os.close, writer)
        # A signal writes to the pipe, which ends a running select: Python would restart it otherwise.
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer, warn_on_full_buffer=False))
        disable_echo = _read_single_keys(stack)
        screen = LiveScreen(Console(highlight=False), reader)
        _handle(stack, signal.SIGWINCH, lambda _number, _frame: None)
        _handle(stack, signal.SIGTERM, _terminate)
        _handle(stack, signal.SIGTSTP, lambda _number, _frame: _suspend(screen, disable_echo))
        stack.callback(screen.stop)
        screen.start()
        yield screen


def _read_single_keys(stack: contextlib.ExitStack) -> Callable[[], None]:
    """Make stdin deliver keys at once and without echo; returns a function that does it again."""
    if not sys.stdin.isatty():
        return lambda: None
    descriptor = sys.stdin.fileno()
    stack.callback(termios.tcsetattr, descriptor, termios.TCSADRAIN, termios.tcgetattr(descriptor))

    def disable_echo() -> None:
        tty.setcbreak(descriptor)

    disable_echo()
    return disable_echo


def _handle(
    stack: contextlib.ExitStack, number: int, handler: Callable[[int, FrameType | None], Any]
) -> None:
    stack.callback(signal.signal, number, signal.signal(number, handler))


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(TERMINATED)


def _suspend(screen: LiveScreen, disable_echo: Callable[[], None]) -> None:
    """Ctrl-Z: restore the terminal, stop, and continue when the shell says so."""
    screen.stop()
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)
    disable_echo()
    screen.start()
