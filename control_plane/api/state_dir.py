"""Layout of a state directory, shared by everything that reads or writes it.

```
admin.token      bearer token of the admin API, 0600
read.token       read-only token, 0600
mesh.json        MeshAddresses: where the control plane listens
ca/              root.pem, root.key (0600), tokens.key (0600)
store/           embedded Valkey: its data and password, 0700
run/NAME.json    ProcessRecord of each child process
logs/NAME.log    its output, rotated
tokens/NAME      join token of a service, 0600
sidecars/NAME/   bootstrap.json, identity.json, bundle.json; Envoy's working directory, 0700
instances/NAME/  the same for a process that joined by itself: run, logs, sidecars, agent.json, its token
certificates/    certificates and keys of gateways, by default (MESH_CERTIFICATES)
agent.json       what each of the agent's workloads is doing
```
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from meshwright.control_plane.api.models.base import ApiModel

UNIX_PATH_LIMIT = 100
"""Bytes of a Unix socket's path (sockaddr_un holds 108 on Linux, 104 on macOS; this leaves a margin)."""

SOCKETS = ("admin.sock", "agent.sock", "metrics.sock", "trial.sock", "valkey.sock", "verify.sock")
"""The names of all sockets."""

LOCK_FILE = "up.json"
"""The record of the process that runs here (`mesh up`), which holds a lock on it; empty after a clean end."""

IDENTITY_FILE = "./identity.json"
"""SDS file of the secret `identity`, relative to Envoy's working directory."""

BUNDLE_FILE = "./bundle.json"
"""SDS file of the secret `bundle`: Envoy rejects a file with two secrets ("Expected sum is 1", 1.40)."""


CERTIFICATES_FOLDER = "certificates"


class MeshAddresses(ApiModel):
    """`mesh.json`: where a running control plane listens. `ca_sha256` is the hash of the root's DER bytes.

    `otlp` receives metrics and spans over OTLP/gRPC; empty: disabled.
    """

    admin: str
    xds: str
    enrolment: str
    ca_sha256: str
    trust_domain: str = "mesh.local"
    otlp: str = ""


class ProcessRecord(ApiModel):
    """A child process, recorded before it starts and completed after.

    `birth` (boot and clock tick of its start) tells a reused pid from ours; `started` is psutil's
    create_time, for systems without it. `pid` 0: not completed; the process has `marker` in its environment.
    Processes of equal `digest` run the same program with the same settings.
    """

    name: str
    pid: int = 0
    started: float = 0.0
    birth: str = ""
    log: str = ""
    marker: str = ""
    digest: str = ""


def socket_path(folder: Path, name: str) -> Path:
    """The path of a Unix socket of `folder`. All sockets of a folder are together.

    They are in the folder itself, or in a short private one if any of SOCKETS would not fit. Its name depends
    only on `folder`, so that every process derives the same one. Whoever binds a socket creates the folder
    of the sockets with mode 0700. Raises ValueError for a name that is not one of SOCKETS.
    """
    if name not in SOCKETS:
        raise ValueError(f"{name} is not one of {', '.join(SOCKETS)}")
    home = folder.absolute()
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:16]
    short = f"meshwright-{digest}"
    candidates = (home, Path(tempfile.gettempdir()) / short, Path("/tmp") / short)  # noqa: S108  private_folder checks it
    return next((path for path in candidates if _fits(path)), candidates[-1]) / name


def _fits(folder: Path) -> bool:
    """Whether every socket's path in `folder` is short enough."""
    longest = max(len(name.encode()) for name in SOCKETS)
    return len(os.fsencode(folder)) + 1 + longest <= UNIX_PATH_LIMIT
