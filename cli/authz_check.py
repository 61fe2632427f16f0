"""What `mesh authz check` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from meshwright.cli.output import Level, status_text

LEVELS: Mapping[str, Level] = {"allowed": "good", "partly": "partial", "denied": "bad"}

_NO_RULE = {
    "none": "no allow rule matches",
    "ambiguous-path": "the path is ambiguous",
    "method-override": "the method is overridden",
}


def check_lines(verdict: Mapping[str, Any], caller: str, service: str) -> Iterator[str]:
    """An AccessCheck as text."""
    word = "allowed" if verdict["allowed"] else "denied"
    place = verdict["place"] or service
    services = ", ".join(verdict["services"])
    hops = " → ".join(filter(None, (caller, service, services)))
    by = f" by {place}" if services else ""
    yield status_text(LEVELS[word], f"{hops}: {word}{by}: {verdict['message']}")
    if verdict["route"]:
        yield f"  route {verdict['route']}"
    if verdict["rule"]:
        yield f"  rule {verdict['rule']}"
    for policy in verdict["policies"]:
        details = [policy["source"], f"revision {policy['revision']}" if policy["revision"] else ""]
        details.append(f"by {policy['author']}" if policy["author"] else "")
        yield f"  {policy['name']}  {', '.join(filter(None, details))}".rstrip()
    for rule in verdict["audited"]:
        yield f"  on trial: {rule} would refuse it"
    if verdict["synced"] < verdict["sidecars"]:
        yield f"  only {verdict['synced']} of {verdict['sidecars']} proxies of {place} have this yet"
    elif not verdict["sidecars"]:
        yield f"  no proxy of {place} is connected"


def probe_lines(expected: str, verdicts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What sidecars say, and whether that is the computed verdict, `allowed` or `denied`."""
    for sidecar in verdicts:
        verdict, rule, answer = sidecar["verdict"], sidecar["rule"], sidecar["answer"]
        reason = answer or _NO_RULE.get(rule, rule and f"rule {rule}")
        text = f"{sidecar['instance']} says {verdict}{f': {reason}' if reason else ''}"
        level: Level = "partial" if verdict == "unknown" else "good" if verdict == expected else "bad"
        yield f"  {status_text(level, text)}"
