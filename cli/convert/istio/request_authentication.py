"""RequestAuthentication as JWTAuthentication."""

from __future__ import annotations

import re

from meshwright.cli.convert.documents import WHOLE_MESH, Document
from meshwright.cli.convert.istio.scope import Scope, service_name
from meshwright.cli.convert.istio.targets import read_targets
from meshwright.cli.convert.reading import Value

_HOST = re.compile(r"(https?://)([^/:?#@]+)((?::[0-9]+)?(?:/.*)?)")
"""A URL: what is before its host, the host, and what is behind it."""


def convert_request_authentication(document: Value, name: str, scope: Scope) -> None:
    """Add what one RequestAuthentication says. As there, a request without a token passes."""
    spec = document.get("spec")
    targets = read_targets(document, spec)
    rules = spec.items("jwtRules") if spec else []
    if targets is None or not rules:
        return
    if targets == [WHOLE_MESH]:
        document.problem(
            "RequestAuthentication is for every workload, and a JWTAuthentication for services and gateways: "
            "it is not converted, and no claim is known"
        )
        return
    issuers: list[Document] = []
    headers: list[Document] = []
    for rule in rules:
        if (issuer := _issuer(rule)) is None:
            continue
        issuers.append(issuer)
        for item in rule.items("outputClaimToHeaders"):
            header = {"claim": item.text("claim"), "header": item.text("header")}
            if header not in headers:
                headers.append(header)
    body: Document = {"targetRefs": targets, "require": "none-but-verify", "issuers": issuers}
    if issuers:
        scope.add(document, "JWTAuthentication", name, body | ({"claimHeaders": headers} if headers else {}))


def issuers_in(document: Value) -> list[str]:
    """The issuers of one RequestAuthentication."""
    spec = document.get("spec")
    names = [rule.text("issuer") for rule in spec.items("jwtRules")] if spec else []
    return [name for name in names if name]


def _issuer(rule: Value) -> Document | None:
    """An issuer; None, and a remark, without keys."""
    keys = rule.get("jwks")
    url = rule.get("jwksUri") or rule.get("jwks_uri")
    issuer: Document = {"issuer": rule.text("issuer")}
    if keys is not None:
        issuer["jwks"] = {"inline": keys.string()}
    elif url is not None:
        issuer["jwks"] = {"url": _url(url.string())}
    else:
        rule.problem(
            "has neither jwks nor jwksUri, and keys are not looked for at the issuer: its tokens are refused"
        )
        return None
    if audiences := [item.string() for item in rule.items("audiences")]:
        issuer["audiences"] = audiences
    places = _places(rule)
    for source, _ in places[1:]:
        source.problem("is not converted: a token is in one place, here in the first")
    place = places[0][1] if places else {"header": "authorization", "prefix": "Bearer "}
    if places:
        issuer["token"] = place
    else:
        rule.note("expects the token in the header authorization alone, not in the query")
    issuer["forwardToken"] = rule.flag("forwardOriginalToken") or "header" not in place
    if "header" not in place and not rule.flag("forwardOriginalToken"):
        rule.note("forwards the token: only a header can be removed")
    return issuer


def _places(rule: Value) -> list[tuple[Value, Document]]:
    """Where the token is, each with its source."""
    places: list[tuple[Value, Document]] = []
    for header in rule.items("fromHeaders"):
        place: Document = {"header": header.text("name")}
        if prefix := header.text("prefix"):
            place["prefix"] = prefix
        places.append((header, place))
    places += [(item, {"query": item.string()}) for item in rule.items("fromParams")]
    places += [(item, {"cookie": item.string()}) for item in rule.items("fromCookies")]
    return places


def _url(url: str) -> str:
    """The URL of a key set; a host of the cluster is the service."""
    match = _HOST.fullmatch(url)
    service = service_name(match[2]) if match else ""
    return f"{match[1]}{service}{match[3]}" if match and service else url
