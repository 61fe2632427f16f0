"""Stored state → World. Unchanged parts keep their identity, so later steps can skip them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains
from meshwright.control_plane.api.models.instances import Port, Registration, owner_name
from meshwright.control_plane.core.world import Departure, Instance, PolicyDocument, Service, World
from meshwright.control_plane.policies.base import Policy
from meshwright.control_plane.policies.registry import kinds

NO_DEPARTURES: Mapping[str, Departure] = {}

_GATEWAY = owner_name("", "gateway")
"""How the owner of a gateway's instances begins."""


@dataclass(frozen=True, slots=True)
class CanonicalPolicy:
    """A document as the store holds it: canonical JSON, the revision that first contained it, and the one
    that changed it last."""

    text: str
    created: int
    generation: int = 0


class Assembler:
    """Builds worlds, each from the previous one where possible. `problems` lists unreadable documents."""

    def __init__(
        self,
        trust_domain: str,
        *,
        external_allowed: bool = True,
        patches_allowed: bool = True,
        domains: Domains = DOMAINS,
    ) -> None:
        self._trust_domain = trust_domain
        self._external_allowed = external_allowed
        self._patches_allowed = patches_allowed
        self._domains = domains
        self._documents: dict[CanonicalPolicy, PolicyDocument] = {}
        self._instances: dict[Registration, Instance] = {}
        self._world = World(0, trust_domain=trust_domain)
        self.problems: tuple[str, ...] = ()

    def world(
        self,
        revision: int,
        documents: Iterable[CanonicalPolicy],
        ports: Mapping[str, tuple[Port, ...]],
        registrations: Iterable[Registration],
        departures: Mapping[str, Departure] = NO_DEPARTURES,
    ) -> World:
        """The world of `revision`. A document of an unknown kind is skipped and reported in `problems`."""
        current = self._parse(documents)
        previous = self._world
        instances = self._by_owner(registrations)
        self._world = World(
            revision,
            self._services(ports, instances, departures),
            previous.documents if previous.documents == current else current,
            gateway_instances={
                owner.removeprefix(_GATEWAY): members
                for owner, members in sorted(instances.items())
                if owner.startswith(_GATEWAY)
            },
            trust_domain=self._trust_domain,
            external_allowed=self._external_allowed,
            patches_allowed=self._patches_allowed,
            domains=self._domains,
        )
        return self._world

    def _parse(self, stored: Iterable[CanonicalPolicy]) -> tuple[PolicyDocument, ...]:
        documents: dict[CanonicalPolicy, PolicyDocument] = {}
        problems = []
        for entry in stored:
            try:
                documents[entry] = self._documents.get(entry) or PolicyDocument(
                    parse_policy(entry.text), entry.created, entry.generation
                )
            except (KeyError, ValueError) as error:
                problems.append(f"a stored document cannot be read and is skipped: {_first_line(error)}")
        self._documents = documents
        self.problems = tuple(problems)
        return tuple(sorted(documents.values(), key=lambda document: document.ref))

    def _by_owner(self, registrations: Iterable[Registration]) -> Mapping[str, tuple[Instance, ...]]:
        """The instances of each service and `gateway/name`, sorted by name."""
        by_owner: dict[str, list[Instance]] = defaultdict(list)
        instances: dict[Registration, Instance] = {}
        for registration in registrations:
            instance = self._instances.get(registration) or _instance(registration)
            instances[registration] = instance
            by_owner[registration.owner].append(instance)
        self._instances = instances
        return {
            owner: tuple(sorted(members, key=lambda item: item.name)) for owner, members in by_owner.items()
        }

    def _services(
        self,
        ports: Mapping[str, tuple[Port, ...]],
        instances: Mapping[str, tuple[Instance, ...]],
        departures: Mapping[str, Departure],
    ) -> Mapping[str, Service]:
        services = {}
        for name, service_ports in sorted(ports.items()):
            members = instances.get(name, ())
            departure = None if members else departures.get(name)
            service = Service(name, service_ports, members, departure)
            previous = self._world.services.get(name)
            services[name] = previous if previous == service else service
        return services


def _instance(registration: Registration) -> Instance:
    labels = tuple(sorted(registration.labels))
    return Instance(
        registration.instance,
        registration.address,
        registration.port,
        labels,
        registration.health,
        registration.reason,
        registration.last_resort,
        registration.restarts,
        registration.last_exit,
        registration.process,
        registration.health_path,
        registration.ports,
    )


def parse_policy(text: str) -> Policy:
    """The policy in a canonical JSON text; raises KeyError for an unknown kind, ValueError otherwise."""
    body = json.loads(text)
    return kinds()[body["kind"]].model_validate(body)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{error.title}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]
