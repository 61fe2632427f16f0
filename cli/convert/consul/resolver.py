"""What a service-resolver says about a service beside its routes: subsets, timeouts, load balancing."""

from __future__ import annotations

from meshwright.cli.convert.consul.chain import Chain, subset_labels
from meshwright.cli.convert.documents import Document, service_target
from meshwright.cli.convert.durations import read_duration
from meshwright.cli.convert.reading import Value

_ALGORITHMS = {
    "round_robin": "RoundRobin",
    "least_request": "LeastRequest",
    "random": "Random",
    "ring_hash": "RingHash",
    "maglev": "Maglev",
}


def convert_resolver(entry: Value, service: str, chain: Chain) -> None:
    """Add a Subset for each subset, and the policies of the service."""
    for subset in entry.items("subsets"):
        labels = subset_labels(subset)
        subset.flag("onlyPassing")
        name = f"{service}-{subset.text('name')}"
        if labels:
            chain.add(subset, "Subset", name, {"service": service, "labels": labels})
        elif labels == {}:
            subset.note("has no filter: it is the service itself")
    target: Document = {"targetRefs": service_target(service)}
    for field, kind, ours in (
        ("connectTimeout", "ConnectionPool", "connectTimeout"),
        ("requestTimeout", "Timeout", "request"),
    ):
        if (timeout := read_duration(entry.get(field))) and timeout != "0s":
            chain.add(entry, kind, service, target | {ours: timeout})
    if (balancer := entry.get("loadBalancer")) and (body := _load_balancer(balancer)):
        chain.add(balancer, "LoadBalancer", service, target | body)


def _load_balancer(balancer: Value) -> Document:
    policy = balancer.get("policy")
    if policy is None:
        return {}
    algorithm = _ALGORITHMS.get(policy.string())
    if algorithm is None:
        policy.problem("is no algorithm here: LeastRequest applies")
        return {}
    body: Document = {"algorithm": algorithm}
    keys = balancer.items("hashPolicies")
    for key in keys:
        kind, name = key.text("field"), key.text("fieldValue")
        key.get("terminal")
        if "hashOn" in body or kind not in ("header", "cookie") or not name:
            if not isinstance(key.node.value, dict) or not key.node.value.get("sourceIP"):
                key.problem("is not converted: one header or cookie is hashed")
            continue
        if kind == "header":
            body["hashOn"] = {"header": name}
            continue
        cookie: Document = {"name": name}
        if config := key.get("cookieConfig"):
            ttl = read_duration(config.get("ttl"))
            if config.flag("session") or ttl:
                cookie["ttl"] = ttl or "0s"
        body["hashOn"] = {"cookie": cookie}
    if algorithm in ("RingHash", "Maglev") and "hashOn" not in body:
        balancer.problem("has no header or cookie to hash: LeastRequest applies", below=False)
        return {}
    return body
