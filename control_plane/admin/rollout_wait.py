"""Waiting until a revision stands in every connected sidecar."""

from __future__ import annotations

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.api.models.proxies import ProxyStatus, WaitResult

POLL_SECONDS = 0.1
"""Seconds between two looks at the status: well below what a person notices."""

REJECTION_GRACE_SECONDS = 2.0
"""Seconds that others have to answer once one has rejected it, so that all who do are told of."""


async def wait_for_rollout(mesh: AdminContext, revision: int, timeout: float) -> WaitResult:  # noqa: ASYNC109  an answer, no error
    """Until all connected sidecars have taken `revision`, one rejects it, or `timeout` seconds are over.

    Only what the revision itself brought is waited for: who refuses something older is named besides.
    """
    deadline = mesh.now() + timeout
    until = 0.0
    while True:
        status = await mesh.status()
        connected = [one for one in status.proxies if one.state != "disconnected"]
        behind = tuple(one for one in connected if not _has_taken(one, revision))
        if status.revision >= revision:
            if not behind:
                refusing = tuple(one for one in connected if one.state == "rejected")
                return WaitResult(state="programmed", revision=revision, rejecting_older=refusing)
            rejected = tuple(
                one for one in behind if one.state == "rejected" and one.rejected_revision >= revision
            )
            if rejected:
                until = until or min(mesh.now() + REJECTION_GRACE_SECONDS, deadline)
                if rejected == behind or mesh.now() >= until:
                    return WaitResult(state="rejected", revision=revision, proxies=rejected)
        if mesh.now() >= deadline:
            return WaitResult(state="timeout", revision=revision, proxies=behind)
        await mesh.sleep(POLL_SECONDS)


def _has_taken(proxy: ProxyStatus, revision: int) -> bool:
    """Whether a sidecar has all that the revision brought, whatever of older ones it refuses."""
    if proxy.state == "rejected":
        return proxy.revision >= revision or proxy.rejected_revision < revision <= proxy.responded_revision
    return proxy.state == "synced" and proxy.revision >= revision
