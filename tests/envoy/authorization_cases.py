"""Random rule sets of Authorizations, and random calls that often match them, tricks included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.policies.authorization.in_force import OVERRIDE_HEADERS, NamedSpec
from meshwright.control_plane.policies.authorization.spec import AuthorizationSpec
from meshwright.control_plane.policies.authorization.verdict import Call

CALLERS = (
    None,
    Identity("mesh.local", "service", "orders"),
    Identity("mesh.local", "service", "billing"),
    Identity("mesh.local", "gateway", "orders"),
)
ISSUERS = ("https://a.test", "https://b.test")
TOKENS: tuple[dict[str, Any], ...] = (
    {"iss": ISSUERS[0], "sub": "alice", "role": ["user", "admin"], "scope": "read write", "staff": True},
    {"iss": ISSUERS[0], "sub": "bob", "role": "admin", "realm": {"role": "x"}, "level": 1},
    {"iss": ISSUERS[1], "sub": "alice", "role": "administrator", "scope": "reader", "realm": {"role": ["x"]}},
)
PATHS = (
    "/",
    "/a",
    "/a/",
    "/A/b",
    "/a/b",
    "/ab",
    "/a/b/c",
    "/shop.Orders/Get",
    "/shop.Orders/get",
    "/shop.Cart/Put",
)
ODD_PATHS = (
    "//a",
    "/a//b",
    "/x/../a",
    "/a/.",
    "/%61",
    "/a%2fb",
    "/a%5cb",
    "/a;x",
    "/a/;x=1/b",
    "/a%00",
    "/%2561",
    "/a%3Fb",
)
HOSTS = (
    "back",
    "BACK",
    "back.",
    "back:80",
    "Back.mesh.:8080",
    "x.example.com",
    "example.com",
    "a.b.EXAMPLE.com.",
    "other",
)
METHODS = ("GET", "POST", "DELETE", "get", "Delete")
HEADERS = (
    ("x-role", "admin"),
    ("X-Role", "user"),
    ("x-role", "ADMIN"),
    ("x-role", "user, admin"),
    ("x-kind", "a1"),
)
ADDRESSES = ("127.0.0.1", "127.0.0.9", "127.1.2.3")

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """The policies in force at one place, which is a gateway or a service's port, and a call."""

    policies: tuple[NamedSpec, ...]
    gateway: bool
    calls: tuple[Call, ...]


def cases(seed: int, count: int, *, tcp: bool = False) -> Iterator[Case]:
    """`count` rule sets, each with some calls."""
    random = Random(seed)  # noqa: S311
    for _ in range(count):
        gateway = not tcp and random.random() < 0.3
        policies = tuple(
            (f"Authorization/p{index}", _spec(random)) for index in range(random.choice((1, 1, 2, 3)))
        )
        yield Case(policies, gateway, tuple(_call(random, gateway=gateway, tcp=tcp) for _ in range(4)))


def _spec(random: Random) -> AuthorizationSpec:
    target = {"kind": "Mesh"} if random.random() < 0.3 else {"kind": "Service", "name": "back"}
    fields: dict[str, Any] = {
        "targetRefs": [target],
        "rules": [_rule(random) for _ in range(random.randint(1, 3))],
    }
    if random.random() < 0.2:
        fields["enforcement"] = "audit"
    elif target["kind"] == "Mesh" and random.random() < 0.5:
        fields["default"] = random.choice(("deny", "allow", "deny-once-allowed"))
    return AuthorizationSpec.model_validate(fields)


def _rule(random: Random) -> dict[str, Any]:
    rule: dict[str, Any] = {"action": random.choice(("allow", "allow", "deny", "audit"))}
    if random.random() < 0.6:
        rule["from"] = [_caller(random) for _ in range(random.randint(1, 2))]
    if random.random() < 0.7:
        rule["to"] = [_request(random) for _ in range(random.randint(1, 2))]
    return rule


def _caller(random: Random) -> dict[str, Any]:
    return _some(
        random,
        {
            "services": _of(random, ("orders", "billing", "*")),
            "gateways": _of(random, ("orders", "*")),
            "trustDomains": _of(random, ("mesh.local", "other.local")),
            "claims": [_claim(random)],
            "addresses": _of(random, ("127.0.0.1", "127.0.0.0/16", "10.0.0.0/8", "127.0.0.0/8")),
            "notServices": _of(random, ("orders", "billing")),
            "notAddresses": _of(random, ("127.0.0.9", "127.1.0.0/16")),
        },
    )


def _claim(random: Random) -> dict[str, Any]:
    name = random.choice(("role", "sub", "scope", "realm.role", "staff", "level"))
    values = _of(random, ("admin", "alice", "read", "x", "true", "1", "user"))
    return {"name": name, "values": values, "issuer": random.choice(("", "", *ISSUERS))}


def _request(random: Random) -> dict[str, Any]:
    hosts = ("back", "back.mesh", "*.example.com", "other")
    return _some(
        random,
        {
            "methods": _of(random, ("GET", "POST", "DELETE")),
            "paths": [_path(random) for _ in range(random.randint(1, 2))],
            "hosts": _of(random, hosts),
            "ports": _of(random, ("http", "tcp", "admin")),
            "headers": [_header(random)],
            "grpc": [
                random.choice(({"service": "shop.Orders"}, {"service": "shop.Orders", "method": "Get"}))
            ],
            "notMethods": _of(random, ("GET", "DELETE")),
            "notPaths": [_path(random)],
            "notHosts": _of(random, hosts),
            "notPorts": _of(random, ("tcp", "admin")),
        },
    )


def _path(random: Random) -> dict[str, Any]:
    kind = random.choice(("Exact", "PathPrefix", "Template"))
    templates = ("/{x}", "/a/*", "/a/**", "/*/b", "/a/{x}/c", "/**")
    return {"type": kind, "value": random.choice(templates if kind == "Template" else PATHS[:8])}


def _header(random: Random) -> dict[str, Any]:
    if random.random() < 0.5:
        return {"name": "x-role", "value": random.choice(("admin", "user"))}
    return {
        "name": random.choice(("x-role", "x-kind")),
        "type": "RegularExpression",
        "value": "[a-z0-9]+|(?i)admin",
    }


def _call(random: Random, *, gateway: bool, tcp: bool) -> Call:
    caller, address = random.choice(CALLERS), random.choice(ADDRESSES)
    if tcp:
        return Call(caller=caller, address=address, port="tcp", protocol="tcp")
    headers = [random.choice(HEADERS) for _ in range(random.choice((0, 0, 1, 2)))]
    if random.random() < 0.15:
        headers.append((random.choice(OVERRIDE_HEADERS), "DELETE"))
    tokens = [random.choice(TOKENS[:2])] if random.random() < 0.5 else []
    tokens += [TOKENS[2]] if random.random() < 0.3 else []
    return Call(
        caller=caller,
        tokens=tokens,
        address=address,
        method=random.choice(METHODS),
        host=random.choice(HOSTS),
        path=random.choice(PATHS if random.random() < 0.75 else ODD_PATHS),
        port="" if gateway else "http",
        headers=headers,
    )


def _some(random: Random, fields: dict[str, T]) -> dict[str, T]:
    """One or two of the fields."""
    return {name: fields[name] for name in random.sample(sorted(fields), random.choice((1, 1, 2)))}


def _of(random: Random, values: tuple[str, ...]) -> list[str]:
    return random.sample(values, random.randint(1, 2))
