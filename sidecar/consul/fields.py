"""Fields of Consul's registrations that have no meaning here: refused or ignored, each with the reason.

What would change how an application is called is refused. The rest is ignored, and the client reads so in a
`Warning` header. docs/consul-api.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_DEFAULTS: tuple[object, ...] = (None, "", 0, False, [], {}, "default")
_EVEN = {"passing": 1, "warning": 1}

REFUSED_OF_SERVICE: Mapping[str, str] = {
    "Kind": "the mesh runs proxies and gateways by itself: register the application alone",
    "Proxy": "the mesh runs proxies by itself: register the application alone",
    "SocketPath": "sidecars call applications at a port: give Port",
    "Namespace": "a mesh has no namespaces",
    "Partition": "a mesh has no partitions",
    "Connect.Native": "the sidecar ends TLS for the application: let it listen in plaintext on loopback",
}

IGNORED_OF_SERVICE: Mapping[str, str] = {
    "Connect": "every service here has a sidecar, and who may call it is a policy",
    "Weights": "shares of requests are an HTTPRoute's weights",
    "EnableTagOverride": "tags are those of the registration",
    "TaggedAddresses": "a look-up leads through a sidecar of the caller's host",
    "Locality": "the label `zone` of Meta names the locality",
    "Token": "the token that decides is that of the request",
}

REFUSED_OF_CHECK: Mapping[str, str] = {
    "Args": "no programs are run for clients: report the status of a TTL check",
    "ScriptArgs": "no programs are run for clients: report the status of a TTL check",
    "Script": "no programs are run for clients: report the status of a TTL check",
    "DockerContainerID": "no programs are run for clients: report the status of a TTL check",
    "H2PING": "use HTTP, GRPC, TCP or TTL",
    "UDP": "use HTTP, GRPC, TCP or TTL",
    "OSService": "use HTTP, GRPC, TCP or TTL",
    "AliasService": "use HTTP, GRPC, TCP or TTL",
    "AliasNode": "use HTTP, GRPC, TCP or TTL",
    "GRPCUseTLS": "applications beside a sidecar listen in plaintext on loopback",
    "TCPUseTLS": "applications beside a sidecar listen in plaintext on loopback",
    "Namespace": "a mesh has no namespaces",
    "Partition": "a mesh has no partitions",
}

IGNORED_OF_CHECK: Mapping[str, str] = {
    "TLSSkipVerify": "checks are made in plaintext on loopback",
    "TLSServerName": "checks are made in plaintext on loopback",
    "DisableRedirects": "redirects are never followed",
    "FailuresBeforeWarning": "a failure below FailuresBeforeCritical changes nothing",
    "OutputMaxSize": "4096 characters, Consul's default",
    "ServiceTags": "they are the service's",
    "ServiceName": "it is the service's",
    "Node": "it is this agent's",
}


def refuse_fields(value: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    """Raise ValueError for the first refused field that says something."""
    for name, reason in reasons.items():
        if _says_something(_get(value, name)):
            raise ValueError(f"{name} is not supported: {reason}")


def ignored_fields(value: Any) -> list[str]:
    """Which fields of a service's or check's registration had no effect, and why."""
    if not isinstance(value, Mapping):
        return []
    checks = _get(value, "Checks") or []
    each_check = [_get(value, "Check"), *(checks if isinstance(checks, list) else [])]
    notes = [*_ignored(value, IGNORED_OF_SERVICE)]
    for check in each_check:
        if isinstance(check, Mapping):
            notes += _ignored(check, IGNORED_OF_CHECK, "Check.")
    return list(dict.fromkeys(notes))


def _ignored(value: Mapping[str, Any], reasons: Mapping[str, str], prefix: str = "") -> Iterator[str]:
    for name, reason in reasons.items():
        if _says_something(_get(value, name)):
            yield f"{prefix}{name} is ignored: {reason}"


def _get(value: Mapping[str, Any], path: str) -> Any:
    """A field by its name in any case, with or without underscores, as Consul takes them."""
    name, _, rest = path.partition(".")
    match = next((item for key, item in value.items() if _plain(str(key)) == name.lower()), None)
    if not rest:
        return match
    return _get(match, rest) if isinstance(match, Mapping) else None


def _plain(key: str) -> str:
    return key.replace("_", "").lower()


def _says_something(value: Any) -> bool:
    """Whether a field differs from what it is when left out."""
    if isinstance(value, Mapping) and {_plain(str(key)): item for key, item in value.items()} == _EVEN:
        return False
    return value not in _DEFAULTS
