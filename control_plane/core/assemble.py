"""What the store holds → World. Parts that did not change stay the same objects, so that later steps can tell
by identity what they need not do again."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from meshwright.control_plane.api.models.instances import Port, Registration
from meshwright.control_plane.core.world import Instance, PolicyDocument, Service, World
from meshwright.control_plane.policies.base import Policy
from meshwright.control_plane.policies.registry import kinds


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as the store keeps it: canonical JSON, and the revision that first had it."""

    text: str
    created: int


class Assembler:
    """Makes worlds, each from the last one as far as it goes. `problems` tells what could not be read."""

    def __init__(self, trust_domain: str) -> None:
        self._trust_domain = trust_domain
        self._documents: dict[StoredDocument, PolicyDocument] = {}
        self._instances: dict[Registration, Instance] = {}
        self._world = World(0, trust_domain=trust_domain)
        self.problems: tuple[str, ...] = ()

    def world(
        self,
        revision: int,
        documents: Iterable[StoredDocument],
        ports: Mapping[str, tuple[Port, ...]],
        registrations: Iterable[Registration],
    ) -> World:
        """The world of `revision`. A document of a kind this version does not know is left out and told."""
        found = self._read(documents)
        before = self._world
        self._world = World(
            revision,
            self._services(ports, registrations),
            before.documents if before.documents == found else found,
            trust_domain=self._trust_domain,
        )
        return self._world

    def _read(self, stored: Iterable[StoredDocument]) -> tuple[PolicyDocument, ...]:
        known: dict[StoredDocument, PolicyDocument] = {}
        problems = []
        for one in stored:
            try:
                known[one] = self._documents.get(one) or PolicyDocument(parse_policy(one.text), one.created)
            except (KeyError, ValueError) as error:
                problems.append(f"a stored document cannot be read and is left out: {_first_line(error)}")
        self._documents = known
        self.problems = tuple(problems)
        return tuple(sorted(known.values(), key=lambda document: document.ref))

    def _services(
        self, ports: Mapping[str, tuple[Port, ...]], registrations: Iterable[Registration]
    ) -> Mapping[str, Service]:
        instances: dict[str, list[Instance]] = defaultdict(list)
        seen: dict[Registration, Instance] = {}
        for one in registrations:
            seen[one] = self._instances.get(one) or Instance(
                one.instance, one.address, one.port, tuple(sorted(one.labels)), one.health
            )
            instances[one.service].append(seen[one])
        self._instances = seen
        found = {}
        for name, those in sorted(ports.items()):
            service = Service(name, those, tuple(sorted(instances[name], key=lambda one: one.name)))
            before = self._world.services.get(name)
            found[name] = before if before == service else service
        return found


def parse_policy(text: str) -> Policy:
    """The policy in a canonical JSON text; raises KeyError for an unknown kind, ValueError otherwise."""
    body = json.loads(text)
    return kinds()[body["kind"]].model_validate(body)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{error.title}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]
