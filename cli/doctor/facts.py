"""What `mesh doctor` looks at, without a judgement. Sizes are in bytes, times in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshwright.control_plane.api.version_skew import Skew


@dataclass(frozen=True, slots=True)
class PortUse:
    """A port that the mesh listens on. `holder`: ` (NAME, pid N)` of the process that has it, if known."""

    setting: str
    address: str
    in_use: bool
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a limited resource is used. `owner` says whose it is."""

    owner: str
    used: float
    limit: float

    @property
    def share(self) -> float:
        """The used share, from 0 to 1; 0 without a limit."""
        return self.used / self.limit if self.limit else 0.0


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A connection of an app that goes straight to another app, not through a sidecar."""

    caller: str
    callee: str
    address: str


@dataclass(frozen=True, slots=True)
class HostFacts:
    """This host and the state directory.

    `running`: a control plane runs here. `left` are processes whose `mesh up` has ended, by name; `strays`
    those whose state directory is gone, as `NAME (pid N)`. `exposed` are apps with the address outside
    loopback where they listen. `disk` and `inodes` are those of the state directory's file system.
    """

    state: str
    running: bool = False
    ports: Sequence[PortUse] = ()
    envoy_problem: str = ""
    inotify: Usage = Usage("", 0, 0)
    open_files: Sequence[Usage] = ()
    open_files_limit: float = float("inf")
    disk: Usage = Usage("", 0, 0)
    inodes: Usage = Usage("", 0, 0)
    left: Sequence[str] = ()
    strays: Sequence[str] = ()
    shortcuts: Sequence[Shortcut] = ()
    exposed: Mapping[str, str] = field(default_factory=dict)
    admin_token_age: float = 0.0


@dataclass(frozen=True, slots=True)
class MeshFacts:
    """A mesh that answers. `clock_offset`: how far its control plane's clock is ahead of this host's.

    `status`, `proxies` and `tokens` are those of the admin API; `tokens` None: this token may not read them.
    `stuck` are proxies (`service/name`) that have not ACKed what they had not ACKed some seconds before.
    """

    clock_offset: float
    now: float
    status: Mapping[str, Any]
    proxies: Sequence[Mapping[str, Any]]
    stuck: Sequence[str] = ()
    tokens: Sequence[Mapping[str, Any]] | None = None
    skews: Sequence[Skew] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. `mesh` None: it cannot be asked, for the reason in `unreachable`.

    `remote`: the mesh is on another host, so nothing of this host is about it.
    """

    host: HostFacts
    mesh: MeshFacts | None = None
    unreachable: str = ""
    remote: bool = False
