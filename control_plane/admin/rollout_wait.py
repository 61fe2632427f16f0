"""Wait until every connected proxy has ACKed a revision."""

from __future__ import annotations

from meshwright.control_plane.admin.protocols import Clock, Sleep, StatusSource
from meshwright.control_plane.api.models.proxies import ProxyStatus, WaitResult

POLL_SECONDS = 0.1
"""Seconds between two looks at the status: well below what a person notices."""

REJECTION_GRACE_SECONDS = 2.0
"""Seconds that the other proxies have to respond after the first rejection, so that the result names all."""


async def wait_for_rollout(
    status_source: StatusSource,
    revision: int,
    timeout: float,  # noqa: ASYNC109  a timeout is a result, not an error
    *,
    monotonic: Clock,
    sleep: Sleep,
) -> WaitResult:
    """Wait until all connected proxies have ACKed `revision`, one rejects it, or `timeout` seconds have
    passed.

    Only resources of this revision count: proxies that reject or have not ACKed a resource of an older one
    are listed separately.
    """
    deadline = monotonic() + timeout
    rejection_deadline = 0.0
    while True:
        status = await status_source()
        connected = [proxy for proxy in status.proxies if proxy.state != "disconnected"]
        behind = tuple(
            proxy
            for proxy in connected
            if not _has_accepted(proxy, revision) and not _is_unaffected(proxy, revision)
        )
        if status.revision >= revision:
            if not behind:
                rejecting_older = tuple(proxy for proxy in connected if proxy.state == "rejected")
                pending_older = tuple(proxy for proxy in connected if _is_unaffected(proxy, revision))
                return WaitResult(
                    state="programmed",
                    revision=revision,
                    rejecting_older=rejecting_older,
                    pending_older=pending_older,
                )
            rejected = tuple(proxy for proxy in behind if _has_rejected(proxy, revision))
            if rejected:
                rejection_deadline = rejection_deadline or min(
                    monotonic() + REJECTION_GRACE_SECONDS, deadline
                )
                if rejected == behind or monotonic() >= rejection_deadline:
                    return WaitResult(state="rejected", revision=revision, proxies=rejected)
        if monotonic() >= deadline:
            return WaitResult(state="timeout", revision=revision, proxies=behind)
        await sleep(POLL_SECONDS)


def _has_rejected(proxy: ProxyStatus, revision: int) -> bool:
    return proxy.state == "rejected" and proxy.rejected_revision >= revision


def _is_unaffected(proxy: ProxyStatus, revision: int) -> bool:
    """Whether a proxy that has not ACKed everything has all that the revision changes for it: nothing."""
    return proxy.state == "pending" and proxy.published_revision >= revision > proxy.changed_revision


def _has_accepted(proxy: ProxyStatus, revision: int) -> bool:
    """Whether a proxy has ACKed every resource of the revision, whatever it rejects of older ones."""
    if proxy.state == "rejected":
        accepted_all = proxy.rejected_revision < revision <= proxy.responded_revision
        return proxy.revision >= revision or accepted_all
    return proxy.state == "synced" and proxy.revision >= revision
