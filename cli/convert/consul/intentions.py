"""service-intentions as Authorization: closed by default, and never more open than in Consul.

Consul takes the most specific intention: source and `*` for a destination, then both for `*`. Rules here add
up, and deny wins. So a source `*` is every service without a source of its own, and an intention for every
destination leaves out the callers about which a single destination says something of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshwright.cli.convert.consul.chain import Chain
from meshwright.cli.convert.consul.conditions import value_match
from meshwright.cli.convert.documents import WHOLE_MESH, Document, invalid, service_target
from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies.authorization.matches import RequestMatch

CLOSED = "no-intention"
"""The Authorization that refuses what no intention allows, as Consul does with ACLs that deny by default."""

_FOREIGN = ("partition", "peer", "samenessGroup", "namespace")


@dataclass(frozen=True, slots=True)
class Intentions:
    """The sources of one destination, `*` for every one."""

    entry: Value
    destination: str
    sources: dict[str, Value]
    is_closed: bool
    """Whether every call is refused, since it is unclear who may call."""


def read_intentions(entry: Value, name: str) -> Intentions:
    """The sources by name. Callers from elsewhere are not in the mesh, so what allows them is left out."""
    sources: dict[str, Value] = {}
    is_closed = False
    if jwt := entry.get("jwt"):
        jwt.problem("is not converted: see JWTAuthentication; every call is refused")
        is_closed = True
    destination = entry.get("destination")
    place = destination.node.value if destination else {}
    is_closed |= isinstance(place, Mapping) and bool(place.get("namespace"))
    for source in entry.items("sources"):
        content = source.node.value
        for field in ("type", "description", "precedence"):
            source.get(field)
        service = source.text("name")
        if not isinstance(content, dict) or not service:
            source.problem("has no name: every call is refused")
            is_closed = True
        elif any(content.get(field) for field in _FOREIGN):
            is_closed |= source.text("action") != "allow"
            if permissions := source.get("permissions"):
                permissions.skip()
        elif service in sources:
            source.problem(f"is the second one for {service}: every call is refused")
            is_closed = True
        else:
            sources[service] = source
    return Intentions(entry, name, sources, is_closed)


def add_intentions(intentions: Iterable[Intentions], chain: Chain) -> None:
    """Add an Authorization for each destination, and one for the mesh that closes the rest."""
    every = list(intentions)
    if every:
        spec: Document = {"targetRefs": [WHOLE_MESH], "default": "deny"}
        chain.add_once(every[0].entry, "Authorization", CLOSED, spec)
    special = {
        name
        for each in every
        if each.destination != "*"
        for name, source in each.sources.items()
        if source.get("permissions")
    }
    for each in every:
        if each.destination == "*":
            targets: list[Document] = [WHOLE_MESH]
            rules = _rules_for_every_service(each, special)
        else:
            targets = service_target(each.destination)
            rules = _rules(each)
        if not rules:
            continue
        name = "every-service" if each.destination == "*" else each.destination
        if not chain.add(each.entry, "Authorization", name, {"targetRefs": targets, "rules": rules}):
            closed = {"targetRefs": targets, "rules": [{"action": "deny"}]}
            chain.add(each.entry, "Authorization", name, closed)


def _rules(each: Intentions) -> list[Document]:
    if each.is_closed:
        for source in each.sources.values():
            source.skip()
        return [{"action": "deny"}]
    rules: list[Document] = []
    named = sorted(name for name in each.sources if name != "*")
    for name, source in each.sources.items():
        callers: list[Document] = [{"services": [name]}]
        if name == "*":
            callers = [{"notServices": named}] if named else []
        rules += _source_rules(source, {"from": callers} if callers else {})
    return rules


def _source_rules(source: Value, callers: Document) -> list[Document]:
    """The rules for one source. A refusal refuses what the whole mesh may allow."""
    permissions = source.get("permissions")
    if permissions is None:
        action = source.text("action")
        if action == "allow":
            return [callers]
        if action != "deny":
            source.problem("has no action that is known: it is refused", below=False)
        return [{"action": "deny"} | callers]
    source.get("action")
    rules: list[Document] = []
    for permission in permissions.entries():
        rules += _permission_rules(permission, callers)
    if not any(rule.get("action") != "deny" for rule in rules):
        return [{"action": "deny"} | callers]
    return rules


def _permission_rules(permission: Value, callers: Document) -> list[Document]:
    """One permission. Without its condition an allow rule is left out, and a deny rule denies all."""
    action, content = permission.text("action"), permission.node.value
    http = permission.get("http")
    denies = action != "allow"
    if denies and action != "deny":
        permission.problem("has no action that is known: it denies", below=False)
    match = _request(http, denies=denies) if http else None
    if isinstance(content, dict) and content.get("jwt") and not denies:
        return []
    if match is None:
        return [{"action": "deny"} | callers] if denies else []
    rule: Document = {"action": "deny"} if denies else {}
    return [rule | callers | ({"to": [match]} if match else {})]


def _request(http: Value, *, denies: bool) -> Document | None:
    """A RequestMatch, empty for every request; None, and a remark, if a condition cannot be written."""
    result: Document = {}
    content = http.node.value
    lost = not _is_known(content)
    for field in ("pathExact", "pathPrefix"):
        if (value := http.get(field)) is not None and (text := value.string()):
            path = {"type": "Exact", "value": text} if field == "pathExact" else _prefix(value, text, denies)
            lost |= path is None
            if path and path["value"] != "/**":
                result["paths"] = [path]
    headers = [value_match(item) for item in http.items("header")]
    if headers:
        result["headers"] = headers
    if methods := [item.string() for item in http.items("methods")]:
        result["methods"] = methods
    if lost or None in headers:
        return None
    if problem := invalid(RequestMatch, result) if result else "":
        http.problem(f"is not converted: {problem}; it allows nothing, or denies all")
        return None
    return result


def _is_known(content: Any) -> bool:
    """Whether all conditions can be read: `pathRegex` and what is misspelt stay unread, so they are named."""
    kinds: Mapping[str, type] = {"pathExact": str, "pathPrefix": str, "header": list, "methods": list}
    return isinstance(content, Mapping) and all(
        isinstance(value, kinds.get(key, type(None))) for key, value in content.items()
    )


def _prefix(value: Value, text: str, denies: bool) -> Document | None:
    if text.endswith("/"):
        return {"type": "Template", "value": f"{text}**"}
    if denies:
        value.problem(
            f"is every path that begins with {text!r}, and a rule matches whole segments: it denies every "
            f"path; write {text}/ if that is what you mean"
        )
        return None
    value.note(f"allows {text} and what is below it here, not every path that begins with it")
    return {"type": "PathPrefix", "value": text}


def _rules_for_every_service(each: Intentions, special: set[str]) -> list[Document]:
    """Rules of the mesh. A deny rule would win over what a destination allows, and is the default."""
    if each.is_closed:
        for source in each.sources.values():
            source.skip()
        return []
    rules: list[Document] = []
    excluded = sorted(special | {name for name in each.sources if name != "*"} - {"*"})
    for name, source in each.sources.items():
        if source.text("action") == "deny" and not source.get("permissions"):
            source.note("is what happens to every call without an intention")
            continue
        if "*" in special or name in special:
            source.problem(
                f"is left out: a destination has a source {'*' if '*' in special else name} of its own, and "
                "rules add up here; write an intention for each destination"
            )
            continue
        callers: list[Document] = [{"services": [name]}]
        if name == "*":
            callers = [{"notServices": excluded}] if excluded else []
            if special:
                source.problem(
                    f"is not for {', '.join(sorted(special))}, about which a destination says something of "
                    "its own: write an intention for each destination",
                    below=False,
                )
        rules += [
            rule
            for rule in _source_rules(source, {"from": callers} if callers else {})
            if rule.get("action") != "deny" or "to" in rule
        ]
    return rules
