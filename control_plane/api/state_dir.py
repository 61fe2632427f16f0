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
agent.json       what each of the agent's workloads is doing
```
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from meshwright.control_plane.api.models.base import ApiModel

UNIX_PATH_LIMIT = 100
"""Bytes of a Unix socket's path (sockaddr_un holds 108 on Linux, 104 on macOS; this leaves a margin)."""


LOCK_FILE = "up.json"
"""The record of the process that runs here (`mesh up`), which holds a lock on it; empty after a clean end."""

IDENTITY_FILE = "./identity.json"
"""SDS file of the secret `identity`, relative to Envoy's working directory."""

BUNDLE_FILE = "./bundle.json"
"""SDS file of the secret `bundle`: Envoy rejects a file with two secrets ("Expected sum is 1", 1.40)."""


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
    """The path of a Unix socket in `folder`, or in a short private folder if that path is too long.

    The short folder's name depends only on `folder`, so that every process derives the same one. Whoever
    binds the socket creates the folder with mode 0700.
    """
    path = folder.absolute() / name
    if len(str(path).encode()) <= UNIX_PATH_LIMIT:
        return path
    digest = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"meshwright-{digest}" / name
