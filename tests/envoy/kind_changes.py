"""One change of each kind that refuses nothing of a test's load: what turns it on, and what comes over it.

The load calls `back`, `echo` (gRPC), `ledger` (TCP) and an address outside, from `front`, and `back` through
`ingress`. It carries credentials for the kinds that ask for some.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.control_plane.policies.test_credential_gates import user
from tests.envoy.mesh_policies import policy_document
from tests.envoy.routes.certificates import certificate
from tests.fakes import jwt_keys

GATEWAY = "{kind: Gateway, name: ingress}"
SERVICE = "{kind: Service, name: back}"
PUBLIC = "{kind: HTTPRoute, name: public}"
PAGE = "https://shop.example"
PATIENT = "25s"
"""A timeout that a busy machine does not reach."""

_KEY = jwt_keys.key("ES256")
_KEYS = jwt_keys.key_set(jwt_keys.jwk(_KEY, "ES256", "first"))
_OTHER_KEYS = jwt_keys.key_set(
    jwt_keys.jwk(_KEY, "ES256", "first"), jwt_keys.jwk(jwt_keys.key("ES256", "other"), "ES256", "second")
)
API_KEY = "0123456789abcdef0123"

HEADERS = {
    "authorization": "Basic YW5uOmNvcnJlY3QgaG9yc2U=",
    "x-token": jwt_keys.token(_KEY, "ES256", jwt_keys.claims(), "first"),
    "x-api-key": API_KEY,
    "origin": PAGE,
    "accept-encoding": "gzip",
}
"""What each HTTP request of the load carries."""


@dataclass(frozen=True)
class Change:
    """Documents that turn a kind on, those that replace them, and those of other kinds that they need."""

    on: str
    over: str
    needs: str = ""


def _policy(kind: str, target: str = SERVICE, *, over: dict[str, Any], **on: Any) -> Change:
    """A policy whose spec differs in the fields of `over`."""
    name = kind.lower()
    return Change(policy_document(kind, name, target, **on), policy_document(kind, name, target, **on | over))


def _at(*changes: Change) -> Change:
    """Several policies of a kind as one change."""
    return Change("".join(change.on for change in changes), "".join(change.over for change in changes))


def _route(kind: str, name: str, parent: str, rule: str, more: str = "") -> str:
    version = "v1alpha3" if kind == "TLSRoute" else "v1"
    return (
        f"---\napiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\nmetadata: {{name: {name}}}\n"
        f"spec: {{parentRefs: [{parent}], {more}rules: [{rule}]}}\n"
    )


def _split(name: str, first: int, second: int) -> str:
    """The backends of a rule: a service and a Subset of it, by weight."""
    subset = f"{{group: meshwright.io, kind: Subset, name: {name}-v1, weight: {second}}}"
    return f"{{backendRefs: [{{name: {name}, weight: {first}}}, {subset}]}}"


def _subset(name: str, label: str = "version: v1") -> str:
    return (
        f"---\napiVersion: meshwright.io/v1\nkind: Subset\nmetadata: {{name: {name}-v1}}\n"
        f"spec: {{service: {name}, labels: {{{label}}}}}\n"
    )


def _split_route(kind: str, service: str) -> Change:
    """Calls to a service by weight, with the Subset that they need."""
    parent = f"{{kind: Service, group: '', name: {service}}}"
    on, over = (_route(kind, service, parent, _split(service, *weights)) for weights in ((9, 1), (1, 9)))
    return Change(on, over, _subset(service))


def _rollout() -> Change:
    """A route of the gateway whose traffic moves to a Subset; the first step waits for a promotion."""
    canary = "{group: meshwright.io, kind: Subset, name: back-v1}"
    route = _route(
        "HTTPRoute",
        "rolled",
        "{name: ingress}",
        f"{{matches: [{{path: {{value: /delay}}}}], backendRefs: [{{name: back}}, {canary}]}}",
    )
    on, over = (
        "---\napiVersion: meshwright.io/v1\nkind: Rollout\nmetadata: {name: rolled}\n"
        f"spec: {{route: {{name: rolled}}, stable: {{name: back}}, canary: {canary}, steps: {steps}}}\n"
        for steps in ("[{weight: 10}]", "[{weight: 50}, {weight: 90}]")
    )
    return Change(on, over, _subset("back") + route)


def _gateway(*listeners: str) -> str:
    return (
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: ingress}\n"
        f"spec: {{gatewayClassName: meshwright, listeners: [{', '.join(listeners)}]}}\n"
    )


def _external(name: str, **spec: Any) -> str:
    fields = ", ".join(f"{field}: {value}" for field, value in spec.items())
    return (
        f"---\napiVersion: meshwright.io/v1\nkind: ExternalService\nmetadata: {{name: {name}}}\n"
        f"spec: {{{fields}}}\n"
    )


def _backend_tls(hostname: str) -> str:
    return (
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: cards}\n"
        "spec: {targetRefs: [{group: meshwright.io, kind: ExternalService, name: cards}], "
        f"validation: {{hostname: {hostname}, wellKnownCACertificates: System}}}}\n"
    )


def _secure(web: int, tls: int) -> tuple[Change, Change, Change]:
    """Gateway, Certificate and TLSRoute: HTTPS and TLS at a second port, and a third listener over them."""
    http = f"{{name: http, port: {web}, protocol: HTTP}}"
    https = f"{{name: https, port: {tls}, protocol: HTTPS, tls: {{certificateRefs: [{{name: shop}}]}}}}"
    passing = (
        f"{{name: vault, port: {tls}, protocol: TLS, hostname: '*.vault.test', tls: {{mode: Passthrough}}}}"
    )
    more = https.replace("name: https,", "name: more, hostname: more.test,")
    files = {"certificateFile": "shop.crt", "privateKeyFile": "shop.key"}
    other = {"certificateFile": "again.crt", "privateKeyFile": "again.key"}
    parent = "{name: ingress, sectionName: vault}"
    routes = (
        _route("TLSRoute", "vault", parent, f"{{backendRefs: [{{name: vault, weight: {weight}}}]}}", hosts)
        for weight, hosts in ((1, "hostnames: ['a.vault.test'], "), (2, "hostnames: ['*.vault.test'], "))
    )
    return (
        Change(_gateway(http, https, passing), _gateway(http, https, passing, more)),
        Change(certificate("shop", **files), certificate("shop", **other)),
        Change(*routes),
    )


def _authentication() -> dict[str, Change]:
    """Kinds that ask who a user is."""
    issuer = {
        "issuer": jwt_keys.ISSUER,
        "audiences": [jwt_keys.AUDIENCE],
        "token": {"header": "x-token"},
        "jwks": {"inline": _KEYS},
    }
    authorizer = {"url": "http://front/status/200", "appendPath": False}
    return {
        "APIKeyAuthentication": _policy(
            "APIKeyAuthentication",
            keys={"inline": f"shop:{API_KEY}"},
            extractFrom=[{"header": "x-api-key"}],
            over={"keys": {"inline": f"shop:{API_KEY}\nother:{API_KEY[::-1]}"}},
        ),
        "BasicAuthentication": _policy(
            "BasicAuthentication",
            GATEWAY,
            users={"inline": user("ann", "correct horse")},
            over={"realm": "Shop"},
        ),
        "ExternalAuthorization": _at(
            _policy("ExternalAuthorization", GATEWAY, http=authorizer, timeout=PATIENT, over={}),
            Change(
                policy_document("ExternalAuthorization", "in", SERVICE, http=authorizer, timeout=PATIENT),
                policy_document("ExternalAuthorization", "in", GATEWAY, http=authorizer, timeout=PATIENT),
            ),
        ),
        "JWTAuthentication": _at(
            _policy(
                "JWTAuthentication",
                GATEWAY,
                issuers=[issuer],
                over={"issuers": [{**issuer, "jwks": {"inline": _OTHER_KEYS}}], "clockSkew": "30s"},
            ),
            Change(
                policy_document("JWTAuthentication", "inside", SERVICE, issuers=[issuer]),
                policy_document("JWTAuthentication", "inside", PUBLIC, issuers=[issuer], require="all"),
            ),
        ),
    }


def _doors() -> dict[str, Change]:
    """Kinds that refuse some requests."""
    everybody = {"from": [{"addresses": ["0.0.0.0/0"]}]}
    # By address, too: with MutualTLS Disabled callers have no identity.
    callers = {"from": [{"services": ["front", "back"]}, {"gateways": ["ingress"]}, *everybody["from"]]}
    limits = [{"requests": 100_000_000, "per": "1h"}]
    more_limits = [{"requests": 200_000_000, "per": "1h", "by": [{"type": "Path"}]}]
    return {
        "Authorization": _at(
            _policy("Authorization", GATEWAY, rules=[everybody], over={"rules": [everybody, everybody]}),
            Change(
                policy_document("Authorization", "inside", SERVICE, rules=[callers]),
                policy_document("Authorization", "inside", "{kind: Mesh}", rules=[callers], default="deny"),
            ),
        ),
        "FaultInjection": _policy(
            "FaultInjection",
            abort={"status": 503},
            headers=[{"name": "x-fault", "value": "yes"}],
            over={"abort": {"status": 500}},
        ),
        "MutualTLS": _policy("MutualTLS", mode="Permissive", over={"mode": "Disabled"}),
        "RateLimit": _at(
            _policy("RateLimit", limits=limits, over={"limits": more_limits}),
            Change(
                policy_document("RateLimit", "edge", GATEWAY, limits=limits),
                policy_document("RateLimit", "edge", GATEWAY, limits=limits, scope="global"),
            ),
        ),
        "RequestLimits": _policy("RequestLimits", GATEWAY, maxBody="1Ki", over={"maxBody": "2Ki"}),
    }


def _requests() -> dict[str, Change]:
    """Kinds that change requests and responses, and how they are sent."""
    patched = {"type": "RouteConfiguration", "name": "in"}
    operation = {"op": "add", "path": "/response_headers_to_add"}
    headers = [[{"header": {"key": "x-patched", "value": value}}] for value in ("a", "b")]
    patches = [[{**patched, "operations": [{**operation, "value": value}]}] for value in headers]
    return {
        "CORS": _policy("CORS", allowOrigins=[PAGE], over={"allowOrigins": ["https://*.example"]}),
        "CircuitBreaker": _policy("CircuitBreaker", maxRequests=500, over={"consecutiveFailures": 9}),
        "Compression": _policy("Compression", GATEWAY, minSize="1Ki", over={"minSize": "100"}),
        "ConnectionPool": _policy(
            "ConnectionPool", connectTimeout=PATIENT, over={"idleTimeout": "5m", "maxConcurrentStreams": 50}
        ),
        "EnvoyPatch": _policy("EnvoyPatch", patches=patches[0], over={"patches": patches[1]}),
        "HeaderPolicy": _policy(
            "HeaderPolicy",
            response={"set": [{"name": "x-id", "variable": "request.id"}]},
            over={"response": {"set": [{"name": "x-id", "value": "none"}]}},
        ),
        "HealthCheck": _policy(
            "HealthCheck",
            http={"path": "/health/ready"},
            interval="1s",
            timeout=PATIENT,
            over={"interval": "2s", "unhealthyThreshold": 4},
        ),
        "LoadBalancer": _policy(
            "LoadBalancer",
            algorithm="Maglev",
            hashOn={"header": "x-user"},
            over={"hashOn": {"cookie": {"name": "user"}}},
        ),
        "Retry": _policy(
            "Retry", attempts=2, on=["connect-failure"], over={"attempts": 1, "on": [503, "reset"]}
        ),
        "Telemetry": _policy("Telemetry", sampling=10, over={"accessLog": "All"}),
        "Timeout": _policy("Timeout", request=PATIENT, over={"idle": PATIENT}),
    }


def _routes() -> dict[str, Change]:
    """Kinds that split calls."""
    return {
        "GRPCRoute": _split_route("GRPCRoute", "echo"),
        "HTTPRoute": _split_route("HTTPRoute", "back"),
        "Rollout": _rollout(),
        "Subset": Change(
            _subset("back"), _subset("back", "version: v2"), _split_route("HTTPRoute", "back").on
        ),
        "TCPRoute": _split_route("TCPRoute", "ledger"),
    }


def _outside(server: str) -> dict[str, Change]:
    """Kinds of hosts outside; the load calls `server`."""
    address, _, port = server.rpartition(":")
    there = {"resolution": "static", "endpoints": f"[{{address: {address}}}]"}
    return {
        "BackendTLSPolicy": Change(
            _backend_tls("api.cards.example"),
            _backend_tls("cards.example"),
            _external("cards", hosts="[api.cards.example]"),
        ),
        "ExternalService": Change(
            _external("outside", addresses=f"[{address}]", ports=f"[{{port: {port}}}]"),
            _external("outside", addresses=f"[{address}]", ports=f"[{{port: {port}}}]", **there),
        ),
    }


def changes(web: int, tls: int, outside: str) -> dict[str, Change]:
    """The change of each kind, for a gateway at ports `web` and `tls` and a server `address:port` outside."""
    gateway, shop, vault = _secure(web, tls)
    secure = {
        "Certificate": replace(shop, needs=gateway.on),
        "Gateway": replace(gateway, needs=shop.on),
        "TLSRoute": replace(vault, needs=gateway.on + shop.on),
    }
    return _authentication() | _doors() | _requests() | _routes() | _outside(outside) | secure
