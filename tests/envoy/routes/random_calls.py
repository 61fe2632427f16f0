"""Random worlds, each the rules of one route with policies, and a request to each, from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from meshwright.control_plane.api.models.authorization import AccessQuery
from tests.fakes import jwt_keys

KEY = jwt_keys.key("ES256", "explain")
KEYS = jwt_keys.key_set(jwt_keys.jwk(KEY, "ES256", "k"))

NAMES, _VALUES = ("x-a", "x-b", "x-c"), ("1", "2", "100% new")
_METHODS = ("GET", "POST", "DELETE")
_PATHS = (
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b/c",
    "/ab",
    "/b",
    "/b/7",
    "/b/x",
    "/A",
    "/c?q=1",
    "/a?q=2&r=1",
    "/b//x",
)
_SUBSET = {"group": "meshwright.io", "kind": "Subset"}

Document = dict[str, Any]

_PLACES: tuple[Document, ...] = (
    {},
    {"hostname": "x.org"},
    {"scheme": "https"},
    {"hostname": "x.org", "port": 81},
)
"""Where redirects lead."""


@dataclass(frozen=True)
class RandomWorld:
    """The documents of one route, and a request that may meet them. `token` is its bearer token."""

    documents: tuple[Document, ...]
    query: AccessQuery
    token: str = ""


def at_ingress(random: Random, number: int) -> RandomWorld:
    """A world that has a host name of the gateway for itself."""
    host = f"w{number}.test"
    spec = {"parentRefs": [{"name": "ingress"}], "hostnames": [host], "rules": _rules(random)}
    documents = [_document("HTTPRoute", f"w{number}", spec), *_policies(random, number)]
    claims, token = _token(random)
    query = AccessQuery(gateway="ingress", host=host, claims=claims, **_request(random))
    return RandomWorld(tuple(documents), query, token)


def at_sidecar(random: Random, number: int) -> RandomWorld:
    """A world whose rules are for the requests of a service that have its mark."""
    mark = {"name": "x-world", "value": str(number)}
    rules = _rules(random)
    for rule in rules:
        for match in rule["matches"]:
            match["headers"] = [*match.get("headers", ()), mark]
    spec = {"parentRefs": [{"kind": "Service", "name": "back"}], "rules": rules}
    documents = [_document("HTTPRoute", f"w{number}", spec)]
    if random.random() < 0.3:
        documents.append(_header_policy(random, number))
    request = _request(random)
    request["headers"] += (("x-world", str(number)),)
    query = AccessQuery(caller="front", service="back", **request)
    return RandomWorld(tuple(documents), query)


def at_the_callee() -> Iterator[Document]:
    """Policies of the called service, for the requests of all worlds."""
    target = [{"kind": "Service", "name": "back"}]
    deletions = {"methods": ["DELETE"], "paths": [{"value": "/a"}]}
    items = {"paths": [{"type": "Template", "value": "/b/{id}"}]}
    rules = [
        {"name": "no-deletion", "action": "deny", "to": [deletions]},
        {"name": "no-two", "action": "deny", "to": [{"headers": [{"name": "x-b", "value": "2"}]}]},
        {"name": "gateways", "from": [{"gateways": ["ingress"]}]},
        {"name": "front", "from": [{"services": ["front"]}], "to": [{"methods": ["GET", "DELETE"]}]},
        {"name": "posts", "from": [{"services": ["front"]}], "to": [items]},
    ]  # fmt: skip
    yield _document("Authorization", "w-back", {"targetRefs": target, "rules": rules})
    abort = {"abort": {"status": 418}, "headers": [{"name": "x-c", "value": "2"}]}
    yield _document("FaultInjection", "w-back", {"targetRefs": target, **abort})


def _document(kind: str, name: str, spec: Document) -> Document:
    version = "gateway.networking.k8s.io/v1" if kind == "HTTPRoute" else "meshwright.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _request(random: Random) -> dict[str, Any]:
    headers = tuple((name, random.choice(_VALUES)) for name in NAMES if random.random() < 0.4)
    method = random.choice(("GET", "GET", *_METHODS))
    return {"method": method, "path": random.choice(_PATHS), "headers": headers}


def _rules(random: Random) -> list[Document]:
    """Some rules, half the time one for all other requests behind them."""
    rules = [_rule(random) for _ in range(random.randint(1, 3))]
    others = {"matches": [{}], "filters": [_modifier(random)], "backendRefs": _backends(random)}
    return [*rules, others] if random.random() < 0.5 else rules


def _rule(random: Random) -> Document:
    rule: Document = {"matches": [_match(random) for _ in range(random.choice((1, 1, 2)))]}
    filters = [_modifier(random)] if random.random() < 0.5 else []
    kind = random.random()
    types = [match.get("path", {}).get("type", "PathPrefix") for match in rule["matches"]]
    path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": random.choice(("/", "/n", "/n/m"))}
    if types != ["PathPrefix"] or random.random() < 0.5:
        path = {"type": "ReplaceFullPath", "replaceFullPath": random.choice(("/", "/whole"))}
    if kind < 0.2:
        redirect: Document = {"statusCode": random.choice((301, 302, 307)), "path": path}
        redirect |= random.choice(
            ({}, {"hostname": "x.org"}, {"scheme": "https"}, {"hostname": "x.org", "port": 81})
        )
        return rule | {"filters": [*filters, {"type": "RequestRedirect", "requestRedirect": redirect}]}
    if kind < 0.5:
        rewrite = {"path": path} | random.choice(({}, {"hostname": "other.test"}))
        filters.append({"type": "URLRewrite", "urlRewrite": rewrite})
    return rule | {"filters": filters, "backendRefs": _backends(random)}


def _match(random: Random) -> Document:
    match: Document = {}
    if random.random() < 0.8:
        kind = random.choice(("Exact", "PathPrefix", "PathPrefix", "RegularExpression"))
        values = ("/b/[0-9]+", "/a.*") if kind == "RegularExpression" else ("/a", "/a/b", "/b", "/c", "/")
        match["path"] = {"type": kind, "value": random.choice(values)}
    if random.random() < 0.2:
        match["method"] = random.choice(_METHODS)
    if random.random() < 0.3:
        match["headers"] = [_value_match(random, NAMES)]
    if random.random() < 0.1:
        match["queryParams"] = [_value_match(random, ("q", "r"))]
    return match


def _value_match(random: Random, names: Sequence[str]) -> Document:
    if random.random() < 0.3:
        return {"name": random.choice(names), "value": "[12]", "type": "RegularExpression"}
    return {"name": random.choice(names), "value": random.choice(_VALUES[:2])}


def _modifier(random: Random) -> Document:
    return {"type": "RequestHeaderModifier", "requestHeaderModifier": _changes(random)}


def _changes(random: Random) -> Document:
    """Each header in one list at most, at least one change."""
    changes: Document = {}
    for name in random.sample(NAMES, random.randint(1, 3)):
        action, value = random.choice(("set", "add", "remove")), random.choice(_VALUES)
        changes.setdefault(action, []).append(name if action == "remove" else {"name": name, "value": value})
    return changes


def _backends(random: Random) -> list[Document]:
    backends: list[Document] = []
    for name in random.sample(("v1", "v2", "back", "nobody"), random.randint(1, 3)):
        backend: Document = {"name": name, "weight": random.choice((0, 1, 1, 3))}
        backend |= _SUBSET if name.startswith("v") else {}
        filters = [_modifier(random)] if random.random() < 0.3 else []
        if random.random() < 0.1:
            filters.append({"type": "URLRewrite", "urlRewrite": {"hostname": "backend.test"}})
        backends.append(backend | ({"filters": filters} if filters else {}))
    return backends


def _policies(random: Random, number: int) -> Iterator[Document]:
    target = {"targetRefs": [{"kind": "HTTPRoute", "name": f"w{number}"}]}
    if random.random() < 0.3:
        yield _header_policy(random, number)
    if random.random() < 0.4:
        rules = [_access_rule(random, f"r{index}") for index in range(random.randint(1, 3))]
        yield _document("Authorization", f"w{number}", {**target, "rules": rules})
    if random.random() < 0.2:
        issuer = {"issuer": jwt_keys.ISSUER, "audiences": [jwt_keys.AUDIENCE], "jwks": {"inline": KEYS}}
        require = random.choice(("any", "none-but-verify"))
        spec = {**target, "issuers": [issuer], "require": require}
        spec["claimHeaders"] = [{"claim": "sub", "header": "x-a"}]
        yield _document("JWTAuthentication", f"w{number}", spec)


def _header_policy(random: Random, number: int) -> Document:
    target = [{"kind": "HTTPRoute", "name": f"w{number}"}]
    return _document("HeaderPolicy", f"w{number}", {"targetRefs": target, "request": _changes(random)})


def _access_rule(random: Random, name: str) -> Document:
    entry: Document = {}
    if random.random() < 0.5:
        entry["methods"] = random.sample(_METHODS, 2)
    if random.random() < 0.5:
        entry["paths"] = [{"value": random.choice(("/a", "/b", "/"))}]
    if not entry or random.random() < 0.3:
        entry["headers"] = [{"name": random.choice(NAMES), "value": random.choice(_VALUES[:2])}]
    rule: Document = {"name": name, "action": random.choice(("allow", "deny")), "to": [entry]}
    if random.random() < 0.2:
        rule["from"] = [{"claims": [{"name": "sub", "values": ["ann"]}]}]
    return rule


def _token(random: Random) -> tuple[dict[str, str], str]:
    """The claims of a valid token, and the token; sometimes none."""
    if random.random() < 0.6:
        return {}, ""
    claims = {"iss": jwt_keys.ISSUER, "sub": random.choice(("ann", "bob"))}
    return claims, jwt_keys.token(KEY, "ES256", jwt_keys.claims(**claims), "k")
