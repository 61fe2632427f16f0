"""A world with other documents than those in force: what a change would make of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from meshwright.control_plane.core.assemble import parse_policy
from meshwright.control_plane.core.world import PolicyDocument, World


def parse(body: Mapping[str, Any]) -> PolicyDocument:
    """A policy document from plain JSON."""
    return PolicyDocument(parse_policy(json.dumps(body)), 0)


def with_documents(world: World, bodies: Iterable[Mapping[str, Any]]) -> World:
    """The world with these documents.

    Those that it has are as old as before; new ones are of the next revision.
    """
    existing = {document.ref: document for document in world.documents}
    documents = []
    for parsed in map(parse, bodies):
        last = existing.get(parsed.ref)
        if last is not None and last.policy == parsed.policy:
            documents.append(last)
        else:
            documents.append(replace(parsed, created=last.created if last else world.revision + 1))
    return replace(world, documents=tuple(sorted(documents, key=lambda document: document.ref)))


def rule_count(documents: Iterable[Mapping[str, object]]) -> int:
    """How much there is to compute: the documents with their rules and matches."""
    return sum(map(_rules, documents))


def _rules(document: Mapping[str, object]) -> int:
    """A document counts as one, as do each of its rules and each entry of a rule's lists, such as a match."""
    spec = document.get("spec")
    rules = spec.get("rules") if isinstance(spec, dict) else None
    total = 1
    for rule in rules if isinstance(rules, list) else ():
        total += 1
        for parts in rule.values() if isinstance(rule, dict) else ():
            total += len(parts) if isinstance(parts, list) else 0
    return total
