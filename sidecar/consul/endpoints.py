"""Which paths and query parameters of Consul's HTTP API are served, and why the others are not.

The routes, the refusals and docs/consul-api.md come from these tables. A parameter that is not understood is
refused: an answer that ignored `filter` or `dc` would be a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DATACENTER = "dc1"
"""Consul's default, and the only one here: clients that name a datacenter name this one."""

BLOCKING = ("index", "wait")
SELECTION = ("passing", "tag", "near", "filter")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path that is served by a method of HttpApi, with its query parameters beside EVERYWHERE."""

    method: str
    path: str
    handler: str
    does: str
    parameters: tuple[str, ...] = ()


EVERYWHERE: Mapping[str, str] = {
    "token": "the client's token, as `X-Consul-Token` is",
    "pretty": "answers over several lines, indented",
    "stale": "answers are at most a second old, or with `X-Consul-KnownLeader: false` the last known",
    "cached": "as `stale`",
    "consistent": "looks at the mesh again first; 500 while the control plane is away",
    "dc": f"`{DATACENTER}`; any other: 500, as in Consul",
    "ns": "`default`: a mesh has no namespaces",
    "partition": "`default`: a mesh has no partitions",
}
"""Parameters of every endpoint, and what they do."""

PARAMETERS: Mapping[str, str] = {
    "index": "a blocking query: waits until the service has another index than this",
    "wait": "how long it waits: 5m by default, 10m at most",
    "passing": "instances whose checks pass",
    "tag": "instances with this tag; repeatable",
    "filter": "an expression with `==`, `!=`, `in`, `contains`, `is empty`, `matches`, "
    "`and`, `or`, `not` and parentheses",
    "near": "`_agent` or this node: the sidecar chooses the instance, so the order says nothing",
    "replace-existing-checks": "checks that are not in the request end; without it they stay",
    "note": "the check's output",
    "enable": "`true` or `false`",
    "reason": "what callers' health queries show",
}
"""Parameters of some endpoints, and what they do."""

ENDPOINTS = (
    Endpoint("GET", "/v1/status/leader", "leader", "empty while the control plane is away"),
    Endpoint("GET", "/v1/status/peers", "peers", "this agent, while the control plane is there"),
    Endpoint("GET", "/v1/agent/self", "agent_self", "this agent"),
    Endpoint("GET", "/v1/agent/members", "members", "this agent"),
    Endpoint("GET", "/v1/agent/services", "agent_services", "what is registered here", ("filter",)),
    Endpoint("GET", "/v1/agent/service/{id:.+}", "agent_service", "a service that is registered here"),
    Endpoint("GET", "/v1/agent/checks", "agent_checks", "checks of this agent's services", ("filter",)),
    Endpoint(
        "PUT",
        "/v1/agent/service/register",
        "register",
        "starts the instance's sidecar",
        ("replace-existing-checks",),
    ),
    Endpoint(
        "PUT",
        "/v1/agent/service/deregister/{id:.+}",
        "deregister",
        "answers when callers have left, or in 5 s",
    ),
    Endpoint(
        "PUT",
        "/v1/agent/service/maintenance/{id:.+}",
        "maintain",
        "a critical check takes the instance out of rotation",
        ("enable", "reason"),
    ),
    Endpoint("PUT", "/v1/agent/check/register", "register_check", "a check of a service"),
    Endpoint("PUT", "/v1/agent/check/deregister/{id:.+}", "deregister_check", ""),
    Endpoint("PUT", "/v1/agent/check/update/{id:.+}", "update_check", "the status of a TTL check"),
    Endpoint(
        "PUT",
        "/v1/agent/check/{verb:pass|warn|fail}/{id:.+}",
        "set_check",
        "the status of a TTL check",
        ("note",),
    ),
    Endpoint(
        "GET",
        "/v1/health/service/{name}",
        "health_service",
        "instances with their health and the address that leads to them",
        (*BLOCKING, *SELECTION),
    ),
    Endpoint(
        "GET", "/v1/health/checks/{name}", "health_checks", "the health of instances", (*BLOCKING, *SELECTION)
    ),
    Endpoint("GET", "/v1/catalog/services", "catalog_services", "all services, with their tags", BLOCKING),
    Endpoint(
        "GET",
        "/v1/catalog/service/{name}",
        "catalog_service",
        "instances and the address that leads to them",
        (*BLOCKING, *SELECTION),
    ),
    Endpoint("GET", "/v1/catalog/datacenters", "datacenters", f"`{DATACENTER}`"),
    Endpoint("GET", "/v1/catalog/nodes", "nodes", "this agent's node", BLOCKING),
)

_KV = "there is no key-value store: configure by files or the environment, or keep Consul for it"
_CONNECT = "sidecars hold the certificates; which service may call another is a policy: `mesh convert consul`"
_ENTRIES = "config entries are policies here: `mesh convert consul`"
_ACL = "there are no ACLs: `mesh consul --acl-token-file` asks all clients for one token"
UNSERVED: Mapping[str, str] = {
    "/v1/kv": _KV,
    "/v1/txn": _KV,
    "/v1/session": "there are no sessions and locks: use a store's own, such as PostgreSQL's advisory locks",
    "/v1/event": "there are no user events: `mesh events` shows those of the mesh",
    "/v1/query": "there are no prepared queries: look the service up, and let an HTTPRoute decide",
    "/v1/connect": _CONNECT,
    "/v1/agent/connect": _CONNECT,
    "/v1/config": _ENTRIES,
    "/v1/discovery-chain": _ENTRIES,
    "/v1/acl": _ACL,
    "/v1/agent/token": _ACL,
    "/v1/catalog/register": "an application registers at the agent beside it: /v1/agent/service/register",
    "/v1/catalog/deregister": "an application deregisters where it registered: /v1/agent/service/deregister",
    "/v1/agent/maintenance": "maintenance is of a service: /v1/agent/service/maintenance/ID",
    "/v1/agent/join": "the mesh has no gossip: `mesh ps` lists its members",
    "/v1/agent/leave": "stop `mesh consul` by a signal",
    "/v1/agent/force-leave": "the mesh has no gossip: an instance that is gone leaves by itself",
    "/v1/agent/reload": "there is no configuration to reload: restart `mesh consul`",
    "/v1/agent/metrics": "see `/metrics` of the control plane and `/stats/prometheus` of sidecars",
    "/v1/agent/monitor": "logs go to stderr",
    "/v1/agent/health": "see /v1/health/service/NAME, with `filter=Service.ID == ID` for one",
    "/v1/agent/host": "`mesh ps` lists instances with their hosts",
    "/v1/agent/version": "/v1/agent/self has the version",
    "/v1/health/state": "ask by service: /v1/health/checks/NAME, or `mesh status` for all",
    "/v1/health/node": "nodes have no checks here: ask by service, /v1/health/checks/NAME",
    "/v1/health/connect": "every look-up leads through a sidecar: /v1/health/service/NAME",
    "/v1/health/ingress": "gateways are the mesh's: `mesh status`",
    "/v1/catalog/node": "see /v1/catalog/service/NAME, or /v1/agent/services for this agent's",
    "/v1/catalog/node-services": "services are listed by name: /v1/catalog/service/NAME",
    "/v1/catalog/connect": "every look-up leads through a sidecar: /v1/catalog/service/NAME",
    "/v1/catalog/gateway-services": "gateways are the mesh's: `mesh status`",
    "/v1/coordinate": "there are no network coordinates",
    "/v1/operator": "there are no servers to operate: `mesh status`",
    "/v1/snapshot": "`mesh backup` saves a mesh",
}
"""Consul's other endpoints, by the beginning of their paths, and what to do instead. They answer 501."""

UNSERVED_PARAMETERS: Mapping[str, str] = {
    "node-meta": "nodes have no metadata here: select by `filter=Service.Meta.KEY == VALUE`",
    "peer": "there are no peered clusters",
    "sg": "there are no sameness groups",
    "hash": "there are no content hashes: use `index` on /v1/health/service/NAME",
    "merge-central-config": _ENTRIES,
}


class UnknownDatacenterError(Exception):
    """A query names a datacenter other than this one."""


def check_parameters(query: Mapping[str, str], endpoint: Endpoint, node: str) -> None:
    """Refuse what would not be honoured. Raises ValueError with the reason, UnknownDatacenterError."""
    for name, value in query.items():
        if name not in EVERYWHERE and name not in endpoint.parameters:
            reason = UNSERVED_PARAMETERS.get(name, "")
            explained = f": {reason}" if reason else f": {_listed(endpoint.parameters)} understood"
            raise ValueError(f"Unsupported query parameter {name[:63]!r} at this path{explained}")
        if name in ("ns", "partition") and value not in ("", "default"):
            raise ValueError(f"Unsupported {name} {value[:63]!r}: a mesh has `default` alone")
        if name == "near" and value not in ("_agent", node):
            raise ValueError(f"Unsupported near {value[:63]!r}: the only node here is {node}, or `_agent`")
    if query.get("dc", DATACENTER) not in ("", DATACENTER):
        raise UnknownDatacenterError(
            f"No path to datacenter {query['dc'][:63]!r}: there is {DATACENTER} alone"
        )


def _listed(names: Iterable[str]) -> str:
    listed = ", ".join([*names, *EVERYWHERE])
    return f"{listed} are"


def unserved_reason(path: str) -> str:
    """Why a path of Consul is not served; empty for one that Consul does not have either."""
    matching = [prefix for prefix in UNSERVED if path == prefix or path.startswith(f"{prefix}/")]
    return UNSERVED[max(matching, key=len)] if matching else ""
