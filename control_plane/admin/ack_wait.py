"""Wait until every connected proxy has ACKed a revision."""

from __future__ import annotations

from meshwright.control_plane.admin.protocols import Clock, Sleep, StatusSource
from meshwright.control_plane.api.models.proxies import WaitResult
from meshwright.control_plane.api.models.push import NO_PUSH
from meshwright.control_plane.api.push_text import push_text
from meshwright.control_plane.status.acks import has_accepted, has_rejected, is_unaffected

POLL_SECONDS = 0.1
"""Seconds between two looks at the status: well below what a person notices."""

REJECTION_GRACE_SECONDS = 2.0
"""Seconds that the other proxies have to respond after the first rejection, so that the result names all."""


async def wait_for_acks(
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
            if not has_accepted(proxy, revision) and not is_unaffected(proxy, revision)
        )
        push = status.push or NO_PUSH
        for withdrawal in push.withdrawals:
            if withdrawal.stable < revision <= withdrawal.revision:
                return WaitResult(state="rejected", revision=revision, withdrawn=withdrawal.reason)
        if push.push and push.push.is_last_wave and push.stable < revision:
            # Proxies that no wave has reached get the revision as it is: it changes nothing for them.
            behind = tuple(proxy for proxy in behind if f"{proxy.service}/{proxy.name}" in push.push.admitted)
        if status.revision >= revision:
            if not behind:
                rejecting_older = tuple(proxy for proxy in connected if proxy.state == "rejected")
                pending_older = tuple(proxy for proxy in connected if is_unaffected(proxy, revision))
                return WaitResult(
                    state="programmed",
                    revision=revision,
                    rejecting_older=rejecting_older,
                    pending_older=pending_older,
                )
            rejected = tuple(proxy for proxy in behind if has_rejected(proxy, revision))
            if rejected:
                rejection_deadline = rejection_deadline or min(
                    monotonic() + REJECTION_GRACE_SECONDS, deadline
                )
                if rejected == behind or monotonic() >= rejection_deadline:
                    return WaitResult(state="rejected", revision=revision, proxies=rejected)
        if monotonic() >= deadline:
            waves = push_text(push.model_dump()) if push.stable < revision <= push.newest else ""
            return WaitResult(state="timeout", revision=revision, proxies=behind, waves=waves)
        await sleep(POLL_SECONDS)
