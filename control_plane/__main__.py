"""`python -P -m meshwright.control_plane`: the control plane as a process, configured by `MESH_*`."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

import structlog

from meshwright.control_plane.api.log_stream import log_stream
from meshwright.control_plane.api.notify_socket import NotifySocket
from meshwright.control_plane.api.open_files import raise_open_files_limit
from meshwright.control_plane.api.private_files import private_folder
from meshwright.control_plane.config import Settings, read_settings
from meshwright.control_plane.errors import InputError, MeshError
from meshwright.control_plane.peer_log import LogRateFilter


def _log_to_stderr(level: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise InputError(f"MESH_LOG_LEVEL: {level!r} is not a log level: use debug, info, warning or error")
    processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*processors, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(log_stream(sys.stderr)),
    )
    _format_library_logs(processors)


def _format_library_logs(processors: Sequence[structlog.types.Processor]) -> None:
    """What libraries log, such as asyncio and aiohttp, has the same form, and a bounded rate."""
    handler = logging.StreamHandler(log_stream(sys.stderr))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*processors, structlog.stdlib.add_logger_name],
            processor=structlog.processors.JSONRenderer(),
        )
    )
    handler.addFilter(LogRateFilter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


STOP_TIMEOUT = 10.0
"""Seconds after SIGTERM at which the process exits, whatever its threads still compute."""


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    systemd = NotifySocket(os.environ)

    def end() -> None:
        if not stop.is_set():
            systemd.stopping()
            _exit_after(STOP_TIMEOUT)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    watchdog = loop.create_task(systemd.feed_watchdog())
    private_folder(settings.state)
    gc.disable()  # what modules make stays: looking for garbage in it takes a sixth of the time of imports
    from meshwright.control_plane.app import ControlPlane  # noqa: PLC0415  as above
    from meshwright.control_plane.serving import serve  # noqa: PLC0415  as above

    gc.freeze()
    gc.enable()
    control_plane = await ControlPlane.create(settings)
    await serve(control_plane, stop, systemd.ready)
    watchdog.cancel()


def _exit_after(seconds: float) -> None:
    """End the process after some seconds, unless it has ended by then."""

    def exit_now() -> None:
        sys.stderr.write(f"not stopped within {seconds:g} s: exiting\n")
        os._exit(1)

    timer = threading.Timer(seconds, exit_now)
    timer.daemon = True
    timer.start()


def run() -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status: 0, 1 (failed) or 2 (invalid settings)."""
    try:
        settings = read_settings(os.environ)
        _log_to_stderr(settings.log_level)
        raise_open_files_limit()
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
