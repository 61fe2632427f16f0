"""A real terminal for tests, in tmux: it is sent keys as a user types them, and shows what a user reads."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.envoy.harness import ROOT
from tests.tui.waiting import wait_until

TMUX = shutil.which("tmux") or ""
SIZE = (140, 44)
"""Columns and lines."""


class Terminal:
    """A tmux server with a dashboard in it."""

    def __init__(self, socket: Path, command: list[str], environment: dict[str, str]) -> None:
        assert TMUX, "the Debian package tmux is needed"
        self._socket = str(socket)
        # The size is tmux's to say, not that of whoever runs the tests.
        self._environment = {k: v for k, v in environment.items() if k not in ("COLUMNS", "LINES")}
        width, height = (str(each) for each in SIZE)
        line = f"cd {shlex.quote(str(ROOT))} && exec {shlex.join(command)}"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, line)

    def _tmux(self, *arguments: str) -> str:
        command = [TMUX, "-S", self._socket, *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, check=True, timeout=30)
        return done.stdout.decode()

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: letters, Enter, Escape, Tab."""
        for key in keys:
            self._tmux("send-keys", key)

    def text(self) -> str:
        """The text on screen."""
        return self._tmux("capture-pane", "-p")

    async def shows(self, words: str | Callable[[str], bool], within: float = 60.0) -> str:
        """The text on screen, once it contains a text."""

        def holds() -> str:
            seen = self.text()
            return seen if (words(seen) if callable(words) else words in seen) else ""

        try:
            return str(await wait_until(holds, f"{words!r} on screen", within))
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.text()}") from None

    async def exits(self, within: float = 60.0) -> None:
        """Wait until the command has ended, and tmux with it."""

        def has_ended() -> bool:
            argv = [TMUX, "-S", self._socket, "has-session"]
            return subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode != 0

        await wait_until(has_ended, "the command ends", within)

    def close(self) -> None:
        """Stop the server and everything in it, if it still runs."""
        argv = [TMUX, "-S", self._socket, "kill-server"]
        subprocess.run(argv, capture_output=True, timeout=30, check=False)


async def dashboard_exit_code(folder: Path, command: list[str], environment: dict[str, str]) -> int:
    """Open the dashboard of a mesh with the service inventory, quit it; returns its exit code."""
    code = folder / "code"
    line = ["sh", "-c", f'"$@"; echo $? > {code}', "sh", *command]
    terminal = Terminal(folder / "tmux", line, environment)
    try:
        await terminal.shows("inventory", 120)
        terminal.press("q")
        await terminal.exits()
    finally:
        terminal.close()
    return int(code.read_text())
