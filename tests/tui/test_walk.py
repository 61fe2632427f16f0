"""A walk in a real terminal on a real mesh: from the start screen to the cause of a failure, till it is over.

tmux holds the terminal: it is sent keys as a user types them, and what it shows is read as a user reads it.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.envoy.harness import ROOT, Mesh, running_mesh, service
from tests.tui.terminal import Terminal
from tests.tui.waiting import wait_until
from tests.tui.web.browser import open_browser, serve_dashboard

LIMITS = """\
apiVersion: meshwright.io/v1
kind: CircuitBreaker
metadata: {{name: inventory-limits}}
spec:
  targetRefs: [{{kind: Service, name: inventory}}]
  maxRequests: {limit}
  maxPending: {limit}
"""
CALLERS = 6


@contextmanager
def traffic(mesh: Mesh) -> Iterator[None]:
    """Several concurrent callers: more than a tight limit allows."""
    ending = threading.Event()

    def call() -> None:
        with mesh.caller("orders-1") as session:
            while not ending.is_set():
                try:
                    session.get("http://inventory/delay?ms=100", timeout=10)
                except requests.RequestException:
                    ending.wait(0.2)
                ending.wait(0.05)

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join(15)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """orders calls inventory; the second revision has a tight limit."""
    folder = tmp_path_factory.mktemp("walk")
    with running_mesh(folder, [service("orders"), service("inventory"), service("catalog")]) as running:
        running.apply(LIMITS.format(limit=64), "-m", "limits")
        running.apply(LIMITS.format(limit=1), "-m", "tighter limits")
        with traffic(running):
            yield running


@pytest.fixture
def terminal(mesh: Mesh, tmp_path: Path) -> Iterator[Terminal]:
    """`mesh dash` on its first screen."""
    command = [sys.executable, "-m", "meshwright.cli", "dash", "--state", str(mesh.state)]
    environment = {**mesh.environment, "TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    shown = Terminal(tmp_path / "tmux", command, environment)
    yield shown
    shown.close()


@pytest.mark.timeout(400)
async def test_from_the_first_screen_to_the_cause_and_the_rollback_by_keys(
    terminal: Terminal, mesh: Mesh
) -> None:
    def row(seen: str, name: str) -> str:
        """A column of the service table, once that is shown."""
        lines = seen.splitlines() if "retr/s" in seen else []
        return next((line for line in lines if f" {name} " in line), "")

    def on_top(seen: str) -> bool:
        lines = seen.splitlines()
        head = next((n for n, line in enumerate(lines) if "retr/s" in line), len(lines))
        return "× inventory " in "".join(lines[head + 1 : head + 2])

    newest = await asyncio.to_thread(revision, mesh)
    await terminal.shows("[1 Topology]")
    await terminal.shows("● synced")

    terminal.press("2")
    await terminal.shows(on_top)
    await terminal.shows(lambda text: "■ open" in row(text, "inventory"))

    terminal.press("Home", "Enter")
    await terminal.shows("Services › inventory")
    await terminal.shows(in_force)
    terminal.press("Tab", "Tab", "Tab", "Enter")
    await terminal.shows("› CircuitBreaker inventory-limits")
    await terminal.shows("maxRequests: 1")

    terminal.press("B")
    await terminal.shows("only CircuitBreaker inventory-limits")
    terminal.press("Enter")
    await terminal.shows(lambda text: "+  maxRequests: 64" in text and "-  maxRequests: 1" in text)
    assert await asyncio.to_thread(revision, mesh) == newest, "nothing is changed before it is agreed to"
    terminal.press("y")
    await terminal.shows(f"rev {newest + 1} ")

    def healed(seen: str) -> bool:
        line = row(seen, "inventory")
        return "●" in line.split("inventory")[0] and "closed" in line

    terminal.press("2")
    await terminal.shows(healed, within=90)
    assert await asyncio.to_thread(revision, mesh) == newest + 1


def in_force(seen: str) -> bool:
    """The policy is among those of the service, not only in the verdict at the top."""
    return any("inventory-limits" in line and "programmed" in line for line in seen.splitlines())


def revision(mesh: Mesh) -> int:
    """The newest revision."""
    return int(mesh.status()["revision"])


@pytest.mark.timeout(400)
async def test_the_dashboard_survives_a_control_plane_that_is_killed(terminal: Terminal, mesh: Mesh) -> None:
    await terminal.shows("[1 Topology]")
    terminal.press("2")
    await terminal.shows(lambda text: "retr/s" in text and " inventory " in text)
    await terminal.shows("● synced")

    def away(seen: str) -> bool:
        # It is soon there again: until the dashboard was seen to notice, it is killed each time.
        reported = "control plane unreachable since" in seen
        if not reported:
            with suppress(OSError, ValueError):
                os.kill(mesh.pid("control-plane"), signal.SIGKILL)
        return reported and " inventory " in seen

    await terminal.shows(away)
    await terminal.shows(
        lambda text: "● synced" in text and "unreachable" not in text and "stale" not in text, within=90
    )
    terminal.press("6")
    await terminal.shows("revision")


@pytest.mark.timeout(400)
async def test_the_same_walk_in_a_browser(mesh: Mesh) -> None:
    token = (mesh.state / "admin.token").read_text().strip()
    tight = await asyncio.to_thread(mesh.apply, LIMITS.format(limit=1), "-m", "tighter limits again")
    async with serve_dashboard(mesh.environment) as web, open_browser() as browser:
        await browser.sign_in(web.url, token)
        await browser.wait_for_text(f"rev {tight}")
        await browser.press("2")
        await wait_until(lambda: re.search(r"×  inventory +unhealthy", browser.text()), "inventory unhealthy")
        await browser.wait_for_text("■ open")
        await browser.press("Home", "Enter")
        await browser.wait_for_text("Services › inventory")
        await wait_until(lambda: in_force(browser.text()), "the policies of the service")
        await browser.press("Tab", "Tab", "Tab", "Enter")
        await browser.wait_for_text("› CircuitBreaker inventory-limits")
        await browser.wait_for_text("maxRequests: 1")
        await browser.press("B")
        await browser.wait_for_text("only CircuitBreaker inventory-limits")
        await browser.press("Enter")
        await browser.wait_for_text("+  maxRequests: 64")
        await browser.press("y")
        await browser.wait_for_text(f"rev {tight + 1}")
        await browser.press("2")
        await wait_until(lambda: re.search(r"●  inventory +healthy", browser.text()), "inventory healed", 90)
