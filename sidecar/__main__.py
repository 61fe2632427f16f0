"""`python -m meshwright.sidecar --config FILE`: the agent as a process."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import structlog
from pydantic import ValidationError

from meshwright.control_plane.api.log_stream import log_stream
from meshwright.control_plane.api.open_files import raise_open_files_limit
from meshwright.sidecar.agent import main
from meshwright.sidecar.config import load_config


def _log_to_stderr() -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(log_stream(sys.stderr)),
    )


def run() -> int:
    """Load the configuration and run the agent. Returns the exit code (2: bad configuration)."""
    parser = argparse.ArgumentParser(
        prog="python -m meshwright.sidecar", description="Run the sidecars of this machine and their apps."
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="Configuration, written by `mesh up`."
    )
    path = parser.parse_args().config
    try:
        config = load_config(path)
    except OSError as error:
        sys.stderr.write(f"{path}:1:1: cannot read the agent's configuration: {error.strerror}\n")
        return 2
    except ValidationError as error:
        for problem in error.errors():
            location = ".".join(str(part) for part in problem["loc"])
            sys.stderr.write(f"{path}:1:1: {location + ': ' if location else ''}{problem['msg']}\n")
        return 2
    _log_to_stderr()
    raise_open_files_limit()
    asyncio.run(main(config, path))
    return 0


if __name__ == "__main__":
    sys.exit(run())
