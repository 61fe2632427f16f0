"""The tutorials as a reader follows them: their files are written, their commands run, their output compared.

A block `yaml title="NAME"` (or of another language) is a file. A block `console` has commands after `$ `, and
below each command lines that its output has to contain, in any order; numbers may differ. What the mesh has
to find out first is asked again until it says so. Other blocks are not run.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.envoy.harness import ROOT, settings
from tests.fakes.ports import free_port

PAGES = ("first-app", "canary", "find-a-failure", "tls", "consul", "join-a-machine")
"""In the order in which they build on each other."""

PORTS = ("8080", "8443", "8000", "8500", "8600", "9090", "9500", "15001", "15006", "15020", "15080")
"""Ports that the pages name, and others might use on this machine."""

BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
ASKS = re.compile(r"curl -s (?!-o)|mesh (status|ps|top|topology|traces|events|history|why)\b")
"""Commands that change nothing."""

WITHIN = 90.0
"""Seconds until a command shows what its page says."""


@dataclass(frozen=True)
class Reader:
    """Somebody in a shell, in a folder of their own."""

    folder: Path
    shell: subprocess.Popen[str]
    ports: dict[str, str]

    def text(self, page_text: str) -> str:
        """A text of a page with ports that are free here."""
        return re.sub(r"\b(\d{4,5})\b", lambda match: self.ports.get(match[1], match[1]), page_text)

    def write(self, name: str, content: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.text(content))

    def run(self, command: str) -> tuple[int, str]:
        """Exit code and output of a command."""
        assert self.shell.stdin
        assert self.shell.stdout
        self.shell.stdin.write(f"{self.text(command)}\necho; echo end of output $?\n")
        self.shell.stdin.flush()
        lines: list[str] = []
        for line in self.shell.stdout:
            if match := re.fullmatch(r"end of output (\d+)\n", line):
                return int(match[1]), "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended at: {command}")

    def follow(self, command: str, shown: list[str]) -> None:
        """Run a command as a page shows it."""
        deadline = time.monotonic() + WITHIN
        while True:
            code, output = self.run(command)
            missing = first_missing(shown, output)
            if code == 0 and missing is None:
                return
            if not ASKS.search(command) or time.monotonic() > deadline:
                raise AssertionError(f"$ {command}\n{output}\nexit code {code}, missing: {missing!r}")


def first_missing(shown: list[str], output: str) -> str | None:
    """The first line of a page that the output does not contain."""
    actual = [plain(line) for line in output.splitlines()]
    return next((line for line in shown if not any(plain(line) in each for each in actual)), None)


def plain(line: str) -> str:
    """A line without what differs from run to run: numbers with their units, and space."""
    return " ".join(re.sub(r"\d+(\.\d+)?( ?(ms|s|m)\b)?", "0", line).split())


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("shop")
    environment = settings(folder / ".mesh")
    del environment["MESH_STATE"], environment["MESH_PROXY_CREDENTIAL"], environment["MESH_PUSH"]
    environment["PATH"] = f"{Path(sys.executable).parent}:/usr/sbin:{environment['PATH']}"
    ports = {name: str(free_port()) for name in PORTS} | {"15080": environment["MESH_ADMIN_PORT"]}
    shell = subprocess.Popen(
        ["/bin/bash", "--norc"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    result = Reader(folder, shell, ports)
    yield result
    everything = [*psutil.Process(shell.pid).children(recursive=True), psutil.Process(shell.pid)]
    subprocess.run(
        [Path(sys.executable).with_name("mesh"), "down"],
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    os.killpg(shell.pid, signal.SIGTERM)
    psutil.wait_procs(everything, timeout=30)
    for process in everything:
        if process.is_running():
            process.kill()


def steps(page: str) -> Iterator[tuple[str, str | list[str]]]:
    """What a page makes its reader do: ("file NAME", content) or (command, lines of output)."""
    text = (ROOT / "docs" / "tutorials" / f"{page}.md").read_text()
    for language, name, content in BLOCK.findall(text):
        if name:
            yield f"file {name}", content
        elif language == "console":
            for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                lines = part.splitlines()
                end = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\"))
                yield "\n".join(lines[:end]), lines[end:]


@pytest.mark.parametrize("page", PAGES)
def test_tutorial_does_what_it_shows(reader: Reader, page: str) -> None:
    done = 0
    for step, content in steps(page):
        if isinstance(content, str):
            reader.write(step.removeprefix("file "), content)
        else:
            reader.follow(step, content)
        done += 1
    assert done > 3
