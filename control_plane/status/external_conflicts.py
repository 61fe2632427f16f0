"""ExternalServices that declare a host and port of an older one. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from meshwright.control_plane.core.ports import external_domains
from meshwright.control_plane.core.world import World
from meshwright.control_plane.policies.externalservice.spec import ExternalService


def external_conflicts(world: World) -> Mapping[str, str]:
    """`ExternalService/name` of each document that loses a host, with the older one that keeps it.

    Two documents for different callers (`from`) do not meet.
    """
    documents = [
        (document.created, document.policy.name, document.policy)
        for document in world.documents
        if isinstance(document.policy, ExternalService)
    ]
    owners: dict[str, list[ExternalService]] = defaultdict(list)
    losers: dict[str, str] = {}
    for _, _, service in sorted(documents, key=lambda entry: entry[:2]):
        domains = {domain for port in service.spec.ports for domain in external_domains(service.spec, port)}
        for domain in sorted(domains):
            for owner in owners[domain]:
                if _same_caller(owner, service):
                    losers.setdefault(service.ref, owner.ref)
            owners[domain].append(service)
    return losers


def _same_caller(left: ExternalService, right: ExternalService) -> bool:
    """Whether some service may call both; an empty `from` is everybody."""
    callers = set(left.spec.from_) & set(right.spec.from_)
    return bool(callers) or not left.spec.from_ or not right.spec.from_
