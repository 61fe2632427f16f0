"""AuthorizationPolicy as Authorization.

Nothing is open that was closed. A condition that cannot be converted makes an allow rule match less: the
entry with it is left out. It makes a deny rule match more: the condition is left out.
"""

from __future__ import annotations

from itertools import product

from meshwright.cli.convert.documents import WHOLE_MESH, Document
from meshwright.cli.convert.istio.authorization_conditions import (
    Alternatives,
    Rule,
    read_operation,
    read_source,
    read_when,
)
from meshwright.cli.convert.istio.scope import Scope
from meshwright.cli.convert.istio.targets import read_targets
from meshwright.cli.convert.reading import Value

_ACTIONS = {"ALLOW": "allow", "DENY": "deny", "AUDIT": "audit", "CUSTOM": "deny"}

NOBODY: Document = {"name": "nobody", "from": [{"addresses": ["255.255.255.255"]}]}
"""A rule that allows no caller, so that whatever no other rule allows is refused."""

EVERYBODY: Document = {"name": "everybody", "action": "deny"}
"""A rule that refuses every caller."""


def convert_authorization_policy(document: Value, name: str, scope: Scope) -> None:
    """Add what one AuthorizationPolicy says."""
    spec = document.get("spec")
    targets = read_targets(document, spec)
    if targets is None:
        return
    action = _ACTIONS.get(spec.text("action", "ALLOW") if spec else "ALLOW", "deny")
    _say_what_custom_becomes(spec)
    rules = _rules(document, spec, action, targets, scope)
    if action != "allow" and not rules:
        document.note("AuthorizationPolicy has no rules, so it refuses nothing: there is no Authorization")
        return
    closed = _closed(action, targets)
    body: Document = {"targetRefs": targets} | ({"rules": rules} if rules else closed)
    if not scope.add(document, "Authorization", name, body):
        document.note("AuthorizationPolicy becomes an Authorization that refuses every request")
        scope.add(document, "Authorization", name, {"targetRefs": targets} | closed)


def _say_what_custom_becomes(spec: Value | None) -> None:
    """No one else decides here without an ExternalAuthorization, so what it would decide on is refused."""
    action = spec.get("action") if spec else None
    if action and action.string() not in ("ALLOW", "DENY", "AUDIT"):
        action.problem(
            f"is {action.string()}: what the rules match is refused; "
            "write an ExternalAuthorization and delete the Authorization"
        )


def _rules(
    document: Value, spec: Value | None, action: str, targets: list[Document], scope: Scope
) -> list[Document]:
    """The rules; none if an allow rule for one of several namespaces would be one for all services."""
    sources = spec.items("rules") if spec else []
    if targets == [WHOLE_MESH] and len(scope.namespaces) > 1 and action == "allow":
        document.problem(
            "AuthorizationPolicy is for one of several namespaces, and a mesh has one: its rules are left "
            "out, so that every service needs an Authorization that allows its callers",
            below=False,
        )
        if spec:
            spec.skip()
        return []
    at_gateway = any(target["kind"] == "Gateway" for target in targets)
    rules = [rule for item in sources for rule in _rule(Rule(item, scope, action != "allow", at_gateway))]
    return rules if action == "allow" else [{"action": action, **rule} for rule in rules]


def _closed(action: str, targets: list[Document]) -> Document:
    """What refuses every request to the targets."""
    if action == "audit":
        return {"rules": [{**EVERYBODY, "action": "audit"}]}
    if action == "deny":
        return {"rules": [EVERYBODY]}
    return {"default": "deny"} if targets == [WHOLE_MESH] else {"rules": [NOBODY]}


def _rule(rule: Rule) -> list[Document]:
    """The rule, or none if nothing is left of it that allows anything."""
    converted = _converted(rule)
    if not converted:
        rule.value.skip()
    return converted


def _converted(rule: Rule) -> list[Document]:
    unknown = [name for name in rule.value.node.children if name not in ("from", "to", "when")]
    for name in unknown:
        if value := rule.value.get(str(name)):
            rule.lose(value, "it is no field that is known")
    callers = _alternatives(rule, "from", "source")
    requests = _alternatives(rule, "to", "operation")
    conditions = rule.value.items("when")
    is_partial = bool(unknown) or (rule.value.get("when") is not None and not conditions)
    if callers is None or requests is None or (is_partial and not rule.refuses):
        return []
    for item in conditions:
        condition = read_when(rule, item)
        if condition is None:
            return []
        if _is_repeated(callers, condition[0]):
            rule.lose(item, "`from` or another condition asks for the same")
            if not rule.refuses:
                return []
            continue
        callers, requests = _both(callers, condition[0]), _both(requests, condition[1])
    result: Document = {}
    if {} not in callers:
        result["from"] = callers
    if {} not in requests:
        result["to"] = requests
    return [result]


def _alternatives(rule: Rule, field: str, inner: str) -> Alternatives | None:
    """The entries of `from` or `to`, of which one must match; None if none is left that allows anything."""
    entries = rule.value.items(field)
    if not entries:
        return None if rule.value.get(field) and not rule.refuses else [{}]
    result: Alternatives = []
    for entry in entries:
        value = entry.get(inner)
        if value is None:
            rule.lose(entry, f"it has no {inner}")
        read = read_source if inner == "source" else read_operation
        alternatives = read(rule, value) if value else None
        result += alternatives or ([{}] if rule.refuses else [])
    return result or None


def _is_repeated(callers: Alternatives, condition: Alternatives) -> bool:
    """Whether a condition is on something of which a list is one of several: two lists are not one."""
    repeated = {name for entry in callers for name in entry} & {name for entry in condition for name in entry}
    return bool(repeated - {"claims"})


def _both(left: Alternatives, right: Alternatives) -> Alternatives:
    """Entries that match where one of each does. Lists of headers and claims are joined: all must match."""
    merged: Alternatives = []
    for first, second in product(left, right):
        joined = {name: [*first[name], *second[name]] for name in first.keys() & second.keys()}
        merged.append({**first, **second, **joined})
    return merged
