"""Which proxies have ACKed policies and revisions. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.core.resource import Resource

ProxyHoldings = Iterable[tuple[Resource, bool, str]]
"""One proxy's resources, each with whether it was ACKed, and Envoy's message if it was rejected."""


@dataclass(frozen=True, slots=True)
class AckCount:
    """Proxies that hold something a policy shaped, those that ACKed all of it, and Envoy's rejections.

    `push`: how far the push of the revision on trial is that changed the policy; empty if it is in force.
    """

    holders: int = 0
    acked: int = 0
    rejections: tuple[str, ...] = ()
    push: str = ""

    def __add__(self, other: AckCount) -> AckCount:
        """The count over two disjoint sets of proxies."""
        return AckCount(
            self.holders + other.holders,
            self.acked + other.acked,
            tuple(sorted({*self.rejections, *other.rejections})),
        )


@dataclass(slots=True)
class _Count:
    holders: int = 0
    acked: int = 0
    rejections: set[str] = field(default_factory=set)


def count_acks(proxies: Iterable[ProxyHoldings]) -> dict[str, AckCount]:
    """Counts by `Kind/name`: a proxy has ACKed a policy if it ACKed everything that the policy shaped."""
    counts: dict[str, _Count] = defaultdict(_Count)
    for holdings in proxies:
        acked_by_policy: dict[str, bool] = {}
        for resource, acked, rejection in holdings:
            for ref in resource.policies:
                acked_by_policy[ref] = acked_by_policy.get(ref, True) and acked
                if rejection:
                    counts[ref].rejections.add(rejection)
        for ref, acked in acked_by_policy.items():
            counts[ref].holders += 1
            counts[ref].acked += acked
    return {
        ref: AckCount(count.holders, count.acked, tuple(sorted(count.rejections)))
        for ref, count in counts.items()
    }


def has_rejected(proxy: ProxyStatus, revision: int) -> bool:
    """Whether a proxy rejects a resource of the revision, or of a newer one."""
    return proxy.state == "rejected" and proxy.rejected_revision >= revision


def is_unaffected(proxy: ProxyStatus, revision: int) -> bool:
    """Whether a proxy that has not ACKed everything has all that the revision changes for it: nothing."""
    return proxy.state == "pending" and proxy.published_revision >= revision > proxy.changed_revision


def has_accepted(proxy: ProxyStatus, revision: int) -> bool:
    """Whether a proxy has ACKed every resource of the revision, whatever it rejects of older ones."""
    if proxy.state == "rejected":
        accepted_all = proxy.rejected_revision < revision <= proxy.responded_revision
        return proxy.revision >= revision or accepted_all
    return proxy.state == "synced" and proxy.revision >= revision
