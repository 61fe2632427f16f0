"""`mesh top` in a terminal: live updates, resizing, an unreachable mesh, and a restored screen."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from meshwright.control_plane.api.models.topology import ServiceList, ServiceSummary
from tests.cli.conftest import MESH, ROOT, RunMesh
from tests.fakes.admin_server import FakeMesh, fake_mesh

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


def services(rate: float) -> ServiceList:
    """A mesh of one service."""
    return ServiceList(
        services=(ServiceSummary(name="orders", health="healthy", rps=rate, instances=1, healthy=1),)
    )


class Terminal:
    """A pseudo-terminal that runs `mesh top`; `output` is everything written to it."""

    def __init__(self, master: int, child: asyncio.subprocess.Process) -> None:
        self.master, self.child, self.output = master, child, ""
        self._more = asyncio.Event()

    def read(self) -> None:
        """Append what is available to `output`."""
        try:
            self.output += os.read(self.master, 65536).decode(errors="replace")
            self._more.set()
        except OSError:
            asyncio.get_running_loop().remove_reader(self.master)

    async def shows(self, pattern: str, since: int = 0) -> int:
        """Wait until the pattern is written after position `since`; returns the end of the match."""
        async with asyncio.timeout(60):
            while not (match := re.compile(pattern).search(self.output, since)):
                await self._more.wait()
                self._more.clear()
        return match.end()

    def resize(self, columns: int, lines: int) -> None:
        """Change the window's size and send SIGWINCH."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.child.send_signal(signal.SIGWINCH)

    def is_restored(self) -> bool:
        """Whether the normal screen, its cursor, echo and line input are back."""
        is_normal_screen = self.output.rstrip().endswith(f"\x1b[?25h{LEAVE}")
        modes = termios.tcgetattr(self.master)[3]
        return is_normal_screen and bool(modes & termios.ICANON) and bool(modes & termios.ECHO)


@asynccontextmanager
async def terminal(state: Path, *arguments: str, **env: str) -> AsyncIterator[Terminal]:
    """`mesh top` in a terminal of 80x24."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MESH, "top", *arguments),
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "MESH_STATE": str(state),
            "TERM": "xterm",
            **env,
        },
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    result = Terminal(master, child)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, result.read)
    try:
        yield result
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        loop.remove_reader(master)
        os.close(slave)
        os.close(master)


@pytest.mark.parametrize("end", ["q", "\x03", "terminated"])
async def test_top_updates_live_and_restores_the_screen(mesh: FakeMesh, end: str) -> None:
    mesh.services = services(1.0)
    async with terminal(mesh.state, "--interval", "0.5") as shown:
        await shown.shows(re.escape(ENTER))
        await shown.shows(r"orders +1\.0 ")
        mesh.services = services(2.0)
        await shown.shows(r"orders +2\.0 ")
        if end == "terminated":
            shown.child.terminate()
        else:
            os.write(shown.master, end.encode())
        code = await asyncio.wait_for(shown.child.wait(), 60)
        await shown.shows(re.escape(LEAVE))
        assert shown.is_restored()
        assert code == (143 if end == "terminated" else 0)
        assert "Traceback" not in shown.output


async def test_a_resize_redraws_at_once(mesh: FakeMesh) -> None:
    mesh.services = services(1.0)
    async with terminal(mesh.state, "--interval", "600") as shown:
        at = await shown.shows("q quits")
        assert "P50" not in shown.output
        shown.resize(130, 24)
        at = await shown.shows("P50", at)
        shown.resize(50, 9)
        frame_without_p50 = r"(?s)\x1b\[H(?:(?!P50|\x1b\[H).)*q quits"
        await shown.shows(frame_without_p50, at)


async def test_an_outage_is_reported_and_ends(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with AsyncExitStack() as first:
        (await first.enter_async_context(fake_mesh(state))).services = services(1.0)
        async with terminal(state, "--interval", "0.5") as shown:
            await shown.shows(r"orders +1\.0 ")
            mark = len(shown.output)
            await first.aclose()
            at = await shown.shows(r"×.* no update since \d\d:\d\d:\d\d: ", mark)
            await shown.shows(r"orders +1\.0 ", at)
            async with fake_mesh(state) as again:
                again.services = services(3.0)
                await shown.shows(r"orders +3\.0 ", at)


async def test_no_color_disables_colours(mesh: FakeMesh) -> None:
    mesh.services = services(1.0)
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        async with terminal(mesh.state, **env) as shown:
            await shown.shows("q quits")
            assert ("\x1b[32m●" in shown.output) is coloured


async def test_without_a_terminal_top_prints_one_table(mesh: FakeMesh, run: RunMesh) -> None:
    mesh.services = services(1.0)
    table = await run("top")
    assert (table.code, table.err) == (0, "")
    assert table.out.splitlines()[1].split()[:3] == ["●", "orders", "1.0"]
    assert "\x1b" not in table.out
    (row,) = json.loads((await run("top", "-o", "json")).out)["services"]
    assert (row["name"], row["rps"]) == ("orders", 1.0)
    async with terminal(mesh.state, "--once") as shown:
        assert await asyncio.wait_for(shown.child.wait(), 60) == 0
        await shown.shows("orders")
        assert ENTER not in shown.output


async def test_an_unreachable_mesh_fails_before_the_screen_opens(run: RunMesh, tmp_path: Path) -> None:
    result = await run("top", "--state", str(tmp_path / "none"))
    assert result.code != 0
    assert ENTER not in result.out
