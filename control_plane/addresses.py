"""Where the control plane is reachable: URLs and addresses that follow from its settings."""

from __future__ import annotations

import os
from pathlib import Path

from meshwright.control_plane.api.private_files import PRIVATE_FILE
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.config import Settings

_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
# Addresses that listen on every interface, and how processes of this host reach them.


def admin_url(settings: Settings, port: int) -> str:
    """The admin API's URL for other hosts."""
    listens_everywhere = settings.admin_bind in ("0.0.0.0", "::")
    return _url(settings.advertise if listens_everywhere else settings.admin_bind, port)


def local_admin_url(settings: Settings, port: int) -> str:
    """The admin API's URL for processes of this host."""
    return _url(_ANY_HOST.get(settings.admin_bind, settings.admin_bind), port)


def write_addresses(state: Path, addresses: MeshAddresses) -> None:
    """Write `mesh.json` into the state directory, atomically and with mode 0600 whatever the umask."""
    path = state / "mesh.json"
    temporary = path.with_name(f".mesh.json.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE_FILE)
    with os.fdopen(descriptor, "w") as file:
        file.write(addresses.model_dump_json(indent=1) + "\n")
    temporary.replace(path)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
