"""The conditions of an AuthorizationPolicy's rule as callers and requests of an Authorization's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from meshwright.cli.convert.documents import Document, invalid
from meshwright.cli.convert.istio.scope import Scope
from meshwright.cli.convert.istio.security_fields import OPERATIONS_LOST, SOURCES_LOST
from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies.authorization.matches import CallerMatch, RequestMatch
from meshwright.control_plane.policies.base import Spec

Alternatives: TypeAlias = list[Document]
"""Entries of which one must match; an empty one matches everything."""

_PRINCIPAL = re.compile(r"(?:\*|[^*/]+(?:/[^*/]+)*)/sa/([a-z0-9]([-a-z0-9]*[a-z0-9])?)")
_ACCOUNT = re.compile(r"(?:[^*/]+/)?([a-z0-9]([-a-z0-9]*[a-z0-9])?)")
_HEADER_KEY = re.compile(r"request\.headers\[([^\]]+)\]")
_CLAIM_KEY = re.compile(r"request\.auth\.claims((?:\[[^\]]+\])+)")
_PLAIN_CLAIMS = {"request.auth.audiences": "aud", "request.auth.presenter": "azp"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a policy: its source, whether it refuses or only records, and where it is enforced."""

    value: Value
    scope: Scope
    refuses: bool
    at_gateway: bool

    def lose(self, value: Value, reason: str) -> None:
        """Say that a condition is not converted, and what becomes of its rule."""
        effect = "the rule matches more without it" if self.refuses else "what needs it is not allowed"
        value.problem(f"is not converted: {reason}; {effect}")


_Reader = Callable[[Rule, Value], Document | None]


def read_source(rule: Rule, source: Value) -> Alternatives | None:
    """The callers that a source names; None if it is left out."""
    caller = _read(rule, source, _SOURCES, SOURCES_LOST, CallerMatch)
    principals = source.get("requestPrincipals")
    if caller is None or principals is None:
        return None if caller is None else [caller]
    claims = _subjects(rule, principals)
    if claims is None:
        return [caller] if rule.refuses else None
    return [{**caller, **claim} for claim in claims]


def read_operation(rule: Rule, operation: Value) -> Alternatives | None:
    """The requests that an operation names; None if it is left out."""
    request = _read(rule, operation, _OPERATIONS, OPERATIONS_LOST, RequestMatch)
    return None if request is None else [request]


def read_when(rule: Rule, condition: Value) -> tuple[Alternatives, Alternatives] | None:
    """The callers and the requests for which a condition holds; None if the rule is left out."""
    key = condition.text("key")
    values = _texts(condition.get("values"))
    negated = condition.get("notValues")
    if negated is not None:
        rule.lose(negated, "no condition here has exceptions")
    elif not values:
        rule.lose(condition, "it has no values")
    else:
        part, entry = _condition(rule, key, values)
        if part and not invalid(CallerMatch if part == "from" else RequestMatch, entry):
            return ([entry], [{}]) if part == "from" else ([{}], [entry])
        rule.lose(condition, f"no rule has a condition on {key} with such values")
    return ([{}], [{}]) if rule.refuses else None


def _condition(rule: Rule, key: str, values: list[str]) -> tuple[str, Document]:
    """Where a condition belongs, `from` or `to`, and its entry there; both empty if there is none."""
    address = "remote.ip" if rule.at_gateway else "source.ip"
    if match := _HEADER_KEY.fullmatch(key):
        return "to", {"headers": [_header(match[1], values)]}
    if any("*" in value for value in values):
        return "", {}
    if claim := _claim_name(key):
        return "from", {"claims": [{"name": claim, "values": values}]}
    if key == address:
        return "from", {"addresses": values}
    if key == "source.principal" and not rule.at_gateway and (names := _services(values, _PRINCIPAL)):
        return "from", {"services": names}
    return "", {}


def _read(
    rule: Rule,
    entry: Value,
    readers: Mapping[str, _Reader],
    lost: Mapping[str, str],
    model: type[Spec],
) -> Document | None:
    """The fields of an entry that are converted; None if it is left out with one that is not."""
    result: Document = {}
    is_complete = isinstance(entry.node.value, Mapping)
    if not is_complete:
        rule.lose(entry, "it is not a mapping")
    for name in entry.node.children:
        value = entry.get(str(name))
        if value is None or name == "requestPrincipals":
            continue
        reader = readers.get(str(name))
        if reader is None:
            rule.lose(value, lost.get(str(name), "it is no field that is known"))
            is_complete = False
            continue
        part = reader(rule, value)
        if part and (problem := invalid(model, part)):
            rule.lose(value, problem)
            part = None
        if part is None:
            is_complete = False
        elif part:
            for field, values in part.items():
                result.setdefault(field, []).extend(values)
    return result if is_complete or rule.refuses else None


def _texts(value: Value | None) -> list[str]:
    return [item.string() for item in value.entries()] if value else []


def _named_services(field: str, pattern: re.Pattern[str]) -> _Reader:
    def read(rule: Rule, value: Value) -> Document | None:
        names = _services(_texts(value), pattern)
        if rule.at_gateway:
            rule.lose(value, "a gateway's clients have no identity")
            return None
        if not names or (field == "notServices" and "*" in names):
            rule.lose(value, "a service is named by the end of a principal, /sa/NAME")
            return None
        value.note("names service accounts: the services of the same names are meant here")
        return {field: names} | ({"gateways": ["*"]} if "*" in names else {})

    return read


def _services(principals: list[str], pattern: re.Pattern[str]) -> list[str]:
    """The services of these principals; empty if one of them is something else."""
    names = []
    for principal in principals:
        match = pattern.fullmatch(principal)
        if principal != "*" and match is None:
            return []
        names.append(match[1] if match else "*")
    return names


def _addresses(field: str, at_gateway: bool) -> _Reader:
    def read(rule: Rule, value: Value) -> Document | None:
        if rule.at_gateway is not at_gateway:
            where = "gateway" if at_gateway else "service"
            rule.lose(value, f"such an address is known at a {where} only")
            return None
        return {field: _texts(value)}

    return read


def _words(field: str) -> _Reader:
    """Values that are compared as they are; `*` is any, and a host may begin with `*.`."""

    def read(rule: Rule, value: Value) -> Document | None:
        texts = _texts(value)
        if "*" in texts and not field.startswith("not"):
            return {}
        for text in texts:
            rest = text.removeprefix("*.") if field.lower().endswith("hosts") else text
            if "*" in rest or ":" in rest:
                rule.lose(value, f"{text!r} cannot be compared as a whole")
                return None
        return {field: texts}

    return read


def _paths(field: str) -> _Reader:
    def read(rule: Rule, value: Value) -> Document | None:
        # What a rule allows must be less, what it refuses more; and the other way round for exceptions.
        wider = rule.refuses is (field == "paths")
        result = []
        for text in _texts(value):
            path = _path(text, wider=wider)
            if path is None:
                rule.lose(value, f"path {text!r} has no equal here")
                return None
            result.append(path)
        return {field: result}

    return read


def _path(text: str, *, wider: bool) -> Document | None:
    """A path, exactly or by whole segments: at least what it matches if `wider`, else at most that."""
    if text in ("*", "/*"):
        return {"type": "PathPrefix", "value": "/"}
    if "{" in text:
        template = text.replace("{**}", "**").replace("{*}", "*")
        return None if "{" in template else {"type": "Template", "value": template}
    head = text.removesuffix("*")
    if "*" in head:
        return None
    if head == text:
        return {"type": "Exact", "value": text}
    if head.endswith("/"):
        return {"type": "Template", "value": f"{head}**"}
    return None if wider else {"type": "PathPrefix", "value": head}


def _subjects(rule: Rule, value: Value) -> Alternatives | None:
    """Request principals, ISSUER/SUBJECT, as claims of the issuer's tokens."""
    claims: Alternatives = []
    for principal in _texts(value):
        issuer, _, subject = principal.rpartition("/")
        if principal == "*" and rule.scope.issuers:
            claim = {"name": "iss", "values": list(rule.scope.issuers)}
        elif issuer and subject == "*" and "*" not in issuer:
            claim = {"name": "iss", "values": [issuer]}
        else:
            claim = {"name": "sub", "values": [subject], "issuer": issuer}
        entry: Document = {"claims": [claim]}
        if "*" in "".join(claim["values"]) or not claim.get("issuer", "-") or invalid(CallerMatch, entry):
            rule.lose(value, f"{principal!r} names no subject of an issuer with a RequestAuthentication")
            return None
        claims.append(entry)
    return claims


def _claim_name(key: str) -> str:
    """The claim of a key; empty if it is none, or if its name has the dot that separates names here."""
    if key in _PLAIN_CLAIMS:
        return _PLAIN_CLAIMS[key]
    match = _CLAIM_KEY.fullmatch(key)
    names = re.findall(r"\[([^\]]+)\]", match[1]) if match else []
    return "" if any("." in name for name in names) else ".".join(names)


def _header(name: str, values: list[str]) -> Document:
    """A header with one of these values, which may begin or end with `*`."""
    if len(values) == 1 and "*" not in values[0]:
        return {"name": name, "value": values[0]}
    patterns = (re.escape(value).replace(r"\*", ".*") for value in values)
    return {"type": "RegularExpression", "name": name, "value": "|".join(patterns)}


_SOURCES: Mapping[str, _Reader] = {
    "principals": _named_services("services", _PRINCIPAL),
    "serviceAccounts": _named_services("services", _ACCOUNT),
    "notPrincipals": _named_services("notServices", _PRINCIPAL),
    "notServiceAccounts": _named_services("notServices", _ACCOUNT),
    "ipBlocks": _addresses("addresses", at_gateway=False),
    "notIpBlocks": _addresses("notAddresses", at_gateway=False),
    "remoteIpBlocks": _addresses("addresses", at_gateway=True),
    "notRemoteIpBlocks": _addresses("notAddresses", at_gateway=True),
}
_OPERATIONS: Mapping[str, _Reader] = {
    "methods": _words("methods"),
    "notMethods": _words("notMethods"),
    "hosts": _words("hosts"),
    "notHosts": _words("notHosts"),
    "paths": _paths("paths"),
    "notPaths": _paths("notPaths"),
}
