"""Hot restart: an Envoy takes over the listening sockets of the one before, which finishes its requests.

Both find each other by a base id: it names Unix sockets, and a region of shared memory. Envoy's default is an
abstract socket, on which any user of the host could end the process, so ours are in the workload's private
folder. Envoy removes neither, so whoever starts the next one does.
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/operations/hot_restart
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

from meshwright.control_plane.api.private_files import private_folder

DISABLED = ("--disable-hot-restart",)

PARENT_SHUTDOWN = 600
"""Seconds in which the Envoy before finishes its requests: as many as after a changed listener."""

TIMEOUT = 60.0
"""Seconds until an Envoy has its configuration and takes over. It takes less than one on an idle machine."""

_COMMAND_TIMEOUT = 30.0

_FOLDER = "hot-restart"

SIDECARS_FOLDER = "sidecars"

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  where shm_open has its files

_SOCKET = ("--socket-path", f"./{_FOLDER}/socket")


def sidecar_folder(state: Path, workload: str) -> Path:
    """The folder of a workload's proxy, which is its Envoy's working directory."""
    return state / SIDECARS_FOLDER / workload


class HotRestartError(Exception):
    """An Envoy cannot take over, for the reason in the text; the one before goes on."""


def first_options(folder: Path) -> tuple[str, ...]:
    """Options of an Envoy that has none before it, with `folder` as its working directory.

    Removes what the last one left. Without shared memory, in some containers, none can take over later.
    """
    remove_traces(folder)
    if not os.access(_SHARED_MEMORY, os.W_OK):
        return DISABLED
    private_folder(folder / _FOLDER)
    return (*_SOCKET, "--use-dynamic-base-id", "--base-id-path", f"./{_FOLDER}/base-id")


def next_options(folder: Path, pid: int) -> tuple[str, ...]:
    """Options of the Envoy that takes over from the process `pid`; raises HotRestartError."""
    try:
        base_id, command = (folder / _FOLDER / "base-id").read_text(), psutil.Process(pid).cmdline()
    except (OSError, psutil.Error) as error:
        raise HotRestartError(f"the running Envoy cannot be examined: {error}") from None
    epoch = int(command[command.index("--restart-epoch") + 1]) if "--restart-epoch" in command else 0
    return (
        *_SOCKET,
        *("--base-id", base_id.strip(), "--restart-epoch", str(epoch + 1)),
        *("--parent-shutdown-time-s", str(PARENT_SHUTDOWN)),
    )


def shared_memory(folder: Path) -> Path:
    """The region of shared memory of the Envoy that started in `folder`; raises OSError or ValueError."""
    # Envoy multiplies the option by ten.
    return _SHARED_MEMORY / f"envoy_shared_memory_{int((folder / _FOLDER / 'base-id').read_text()) * 10}"


def remove_traces(folder: Path) -> None:
    """Remove the sockets and the shared memory of an Envoy that has ended."""
    with suppress(OSError, ValueError):
        shared_memory(folder).unlink()
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)


def mark_failed(folder: Path) -> None:
    """Note that one failed after it had closed the admin interface of the running Envoy."""
    (folder / _FOLDER / "failed").touch()


def has_failed(folder: Path) -> bool:
    """Whether the running Envoy has lost its admin interface to one that then failed."""
    return (folder / _FOLDER / "failed").exists()


def obstacle(folder: Path, pid: int, envoy: Path) -> str:
    """Why the binary `envoy` cannot take over from the process `pid` of `folder`; empty if it can. Blocks."""
    if not (folder / _FOLDER / "base-id").exists():
        return "the running Envoy was started without hot restart"
    if has_failed(folder):
        return "an earlier hot restart failed"
    # The file of a running program can be run again, even after its package was removed.
    running, installed = _protocol(Path(f"/proc/{pid}/exe")), _protocol(envoy)
    if running != installed:
        return f"hot restart protocols differ: {running} and {installed}"
    return ""


def _protocol(envoy: Path) -> str:
    """The protocol of hot restarts that a binary speaks: it changes with the layout of the shared memory."""
    try:
        return _run(envoy, "--hot-restart-version") or "unknown"
    except HotRestartError:
        return "unknown"


def check_bootstrap(envoy: Path, folder: Path) -> None:
    """Raise HotRestartError if the binary rejects the new bootstrap: nothing has happened then. Blocks."""
    _run(envoy, "--mode", "validate", "-c", "./bootstrap.json", *DISABLED, folder=folder)


def _run(envoy: Path, *options: str, folder: Path | None = None) -> str:
    """What it prints: Envoy has a terse option's answer on standard error."""
    try:
        done = subprocess.run(
            [envoy, *options],
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT,
            cwd=folder,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise HotRestartError(f"{envoy}: does not run: {error}") from None
    if done.returncode:
        raise HotRestartError(f"the installed Envoy rejects its bootstrap: {done.stderr.strip()[-300:]}")
    return (done.stdout + done.stderr).strip()
