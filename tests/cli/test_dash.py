"""`mesh dash` as a process on a terminal: it opens and quits with 0, and a crash is never a success.

Without a mesh, so that every supported Python can run it: the order of Textual's tasks differs between
versions of Python, and a simulated terminal does not show that.
"""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]

WITHIN = 120.0
"""Seconds in which the dashboard opens or ends on a busy machine."""

DASHBOARD = "import sys; from meshwright.cli.main import main; sys.argv = ['mesh', 'dash']; main()"

BROKEN = f"""
from meshwright.tui.features.topology.screen import TopologyScreen
def fail(screen): raise RuntimeError("on purpose")
TopologyScreen.on_mount = fail
{DASHBOARD}
"""
"""A dashboard whose first screen fails."""

SWITCHING = f"""
from meshwright.tui.app import DashboardApp
opened, open_dashboard = [], DashboardApp.on_mount
def switch_once(app):
    open_dashboard(app)
    opened.append(app)
    if len(opened) == 1:
        app.call_later(app.switch_mesh, app.contexts[0])
DashboardApp.on_mount = switch_once
{DASHBOARD}
"""
"""A dashboard that switches to the first context as soon as it is open."""


def run(program: str, folder: Path, quit_after: bytes = b"") -> tuple[int, bytes]:
    """Run a program on a terminal, and press q once it shows a text: its exit code and its output."""
    token = folder / "token"
    token.write_text("read")
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    mesh = {"MESH_API": "http://127.0.0.1:1", "MESH_TOKEN_FILE": str(token), "PYTHONPATH": str(ROOT)}
    mesh["XDG_CONFIG_HOME"] = str(folder)
    terminal, other_end = pty.openpty()
    argv = [sys.executable, "-c", program]
    process = subprocess.Popen(
        argv, stdin=other_end, stdout=other_end, stderr=other_end, env={**environment, **mesh}, cwd=folder
    )
    os.close(other_end)
    output, deadline = b"", time.monotonic() + WITHIN
    try:
        while chunk := _read(terminal, deadline):
            output += chunk
            if quit_after and quit_after in output:
                os.write(terminal, b"q")
                quit_after = b""
        return process.wait(WITHIN), output
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def _read(terminal: int, deadline: float) -> bytes:
    """What the program prints next; empty when it has ended. Fails at the deadline."""
    ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
    assert ready, f"it neither printed nor ended within {WITHIN:g} s"
    try:
        return os.read(terminal, 65536)
    except OSError:  # nobody has the other end open any more
        return b""


def test_dashboard_opens_without_a_control_plane_and_quits(tmp_path: Path) -> None:
    code, output = run(DASHBOARD, tmp_path, b"Topology")
    assert code == 0, output[-3000:]


def test_crash_of_the_dashboard_is_not_a_success(tmp_path: Path) -> None:
    code, output = run(BROKEN, tmp_path)
    assert code == 1
    assert b"on purpose" in output


def test_dashboard_switches_to_the_mesh_of_a_context(tmp_path: Path) -> None:
    token = tmp_path / "other-token"
    token.write_text("read")
    mesh = {"api": "http://127.0.0.1:2", "token_file": str(token), "state": ""}
    file = tmp_path / "meshwright" / "contexts.json"
    file.parent.mkdir(mode=0o700)
    file.touch(0o600)
    file.write_text(json.dumps({"current": "", "contexts": {"staging": mesh}}))
    code, output = run(SWITCHING, tmp_path, b"127.0.0.1:2")
    assert code == 0, output[-3000:]
