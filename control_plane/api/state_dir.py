"""Where things lie in a state directory, so that everyone who looks for them agrees.

```
admin.token      bearer token of the admin API, 0600
read.token       one that may only read, 0600
mesh.json        Addresses: where the control plane listens
ca/              root.pem, root.key (0600), tokens.key (0600)
store/           embedded Valkey: its data and password, 0700
run/NAME.json    ProcessRecord of each child
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
"""Bytes that a unix socket's path may have (108 in Linux's sockaddr_un, 104 on macOS, less a margin)."""


IDENTITY_FILE = "./identity.json"
"""SDS file of the secret `identity`, relative to Envoy's working directory."""

BUNDLE_FILE = "./bundle.json"
"""SDS file of the secret `bundle`: Envoy rejects a file of two secrets ("Expected sum is 1", 1.40)."""


class MeshAddresses(ApiModel):
    """`mesh.json`: where a running control plane answers. `ca_sha256` is the hash of the root's DER bytes.

    `otlp` takes metrics and spans by OTLP/gRPC; empty: nothing does.
    """

    admin: str
    xds: str
    enrolment: str
    ca_sha256: str
    trust_domain: str = "mesh.local"
    otlp: str = ""


class ProcessRecord(ApiModel):
    """A child that was started: `started` is psutil's create_time, so that a stranger's pid is not ours."""

    name: str
    pid: int
    started: float
    log: str = ""


def socket_path(folder: Path, name: str) -> Path:
    """Where a unix socket of `folder` lives: inside it, or in a short private folder when too long.

    The short folder's name depends on `folder` alone, so that all who ask get the same. Whoever binds the
    socket creates the folder with mode 0700.
    """
    path = folder.absolute() / name
    if len(str(path).encode()) <= UNIX_PATH_LIMIT:
        return path
    digest = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"meshwright-{digest}" / name
