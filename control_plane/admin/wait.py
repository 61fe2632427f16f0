"""Waiting until a revision stands in every connected sidecar."""

from __future__ import annotations

from control_plane.admin.mesh import Mesh
from control_plane.api.messages import WaitReply
from control_plane.api.types import ProxyStatus

LOOK_EVERY = 0.1
"""Seconds between two looks at the status: well below what a person notices."""

SETTLE = 0.5
"""Seconds for a sidecar that had rejected something to take a newer revision; after that its word stands."""


async def wait(mesh: Mesh, revision: int, timeout: float) -> WaitReply:  # noqa: ASYNC109  an answer, no error
    """Until all connected sidecars have ACKed `revision`, one rejects it, or `timeout` seconds are over."""
    deadline = mesh.now() + timeout
    seen: float | None = None
    while True:
        status = await mesh.status()
        behind = tuple(p for p in status.proxies if _behind(p, revision))
        if status.revision >= revision:
            if not behind:
                return WaitReply(state="programmed", revision=revision)
            seen = mesh.now() if seen is None else seen
            rejected = tuple(p for p in behind if p.state == "rejected")
            if rejected and mesh.now() - seen >= SETTLE:
                return WaitReply(state="rejected", revision=revision, proxies=rejected)
        if mesh.now() >= deadline:
            return WaitReply(state="timeout", revision=revision, proxies=behind)
        await mesh.pause(LOOK_EVERY)


def _behind(proxy: ProxyStatus, revision: int) -> bool:
    if proxy.state == "disconnected":
        return False
    return proxy.state != "synced" or proxy.revision < revision
