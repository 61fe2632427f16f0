"""`python -P -m meshwright.control_plane`: the control plane as a process, configured by `MESH_*`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading

import structlog

from meshwright.control_plane.app import ControlPlane
from meshwright.control_plane.config import Settings, read_settings
from meshwright.control_plane.errors import InputError, MeshError


def _log_to_stderr(level: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise InputError(f"MESH_LOG_LEVEL: {level!r} is not a log level: use debug, info, warning or error")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


async def _serve(settings: Settings) -> None:
STOP_TIMEOUT = 10.0
"""Seconds after SIGTERM at which the process exits, whatever its threads still compute."""


    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):

    def end() -> None:
        if not stop.is_set():
            _exit_after(STOP_TIMEOUT)
        stop.set()

        loop.add_signal_handler(number, end)
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    await ControlPlane(settings).run(stop)


def run() -> int:
def _exit_after(seconds: float) -> None:
    """End the process after some seconds, unless it has ended by then."""

    def exit_now() -> None:
        sys.stderr.write(f"not stopped within {seconds:g} s: exiting\n")
        os._exit(1)

    timer = threading.Timer(seconds, exit_now)
    timer.daemon = True
    timer.start()


    """Serve until SIGTERM or SIGINT. Returns the exit status: 0, 1 (failed) or 2 (invalid settings)."""
    try:
        settings = read_settings(os.environ)
        _log_to_stderr(settings.log_level)
        asyncio.run(_serve(settings))
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except MeshError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run())
