"""Envoy's configuration compared with reviewed goldens; `UPDATE_GOLDEN=1` rewrites them.

Each kind's `example.yaml` has a `golden.diff` beside it: what the example changes in a small world. Whole
worlds are in tests/goldens.
"""

from __future__ import annotations

import difflib
import os
from functools import lru_cache
from pathlib import Path

import pytest

from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.policies import registry
from meshwright.control_plane.status.preview import resource_yaml
from tests.control_plane.core.worlds import GRPC, TCP, exchange, mesh, route, service, subset

ROOT = Path(__file__).resolve().parents[3]
GOLDENS = ROOT / "tests" / "goldens"
INGRESS = "{name: ingress}"
INVENTORY = "{kind: Service, name: inventory}"

WORLDS = {
    "baseline": "",
    "weights": route(
        "canary",
        "{backendRefs: [{name: inventory, weight: 90}, "
        "{group: meshwright.io, kind: Subset, name: v2, weight: 10}]}",
    )
    + subset("v2"),
    "subset": route(
        "testers",
        "{matches: [{headers: [{name: x-tester, value: 'yes'}]}], backendRefs: [{group: meshwright.io, "
        "kind: Subset, name: v2}]}, {backendRefs: [{name: inventory}]}",
    )
    + subset("v2"),
    "gateway-hostnames": route(
        "shop", "{backendRefs: [{name: orders}]}", INGRESS, 'hostnames: [shop.example.com, "*.example.org"],'
    ),
    "permissive": mesh("MutualTLS", "permissive", "mode: Permissive", INVENTORY),
    "named-ports": route(
        "grpc", "{backendRefs: [{name: orders, port: 9090}]}", "{kind: Service, name: orders, port: 9090}"
    ),
    "from-variant": mesh("Timeout", "for-orders", "from: [orders], request: 1s", INVENTORY),
    "mirror": route(
        "mirror",
        "{backendRefs: [{name: inventory}], filters: [{type: RequestMirror, requestMirror: "
        "{backendRef: {name: catalog}, percent: 50}}]}",
    ),
    "retry-timeout": mesh("Retry", "retry", "attempts: 2", INVENTORY)
    + mesh("Timeout", "timeout", "request: 2s, backendRequest: 500ms", INVENTORY),
    "redirect-rewrite": route(
        "moved",
        "{matches: [{path: {value: /old}}], filters: [{type: RequestRedirect, requestRedirect: "
        "{scheme: https, statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]}, "
        "{matches: [{path: {value: /api}}], backendRefs: [{name: orders}], filters: [{type: URLRewrite, "
        "urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]}",
        INGRESS,
    ),
}
"""Documents added to the small exchange, by the golden's name."""


EXTERNAL = """
apiVersion: meshwright.io/v1
kind: ExternalService
metadata: {name: cards}
spec: {hosts: [api.cards.example], ports: [{port: 80, targetPort: 443}]}
"""

SECURE_GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ingress}
spec:
  listeners:
    - name: shop
      port: 8443
      protocol: TLS
      hostname: shop.example.com
      tls: {certificateRefs: [{name: shop}]}
    - {name: ledger, port: 8443, protocol: TLS, hostname: ledger.example.com, tls: {mode: Passthrough}}
"""
"""What the examples of Certificate and TLSRoute are for. HTTPS would have long chains."""

ADDED = {
    "TLSRoute": service("ledger", ports=(TCP,)),
    "GRPCRoute": service("analytics", ports=(GRPC,)),
    "TCPRoute": service("ledger", ports=(TCP,)),
}
"""Services that an example needs besides those of the small exchange."""


as_yaml = lru_cache(maxsize=1024)(resource_yaml)
"""Most resources are the same in most worlds, and writing one takes long."""


def rendered(snapshot: Snapshot) -> dict[str, str]:
    """Every resource as YAML, by type, name and owner."""
    values = {}
    for caller, table in (("", snapshot.shared), *snapshot.variants.items()):
        whose = f" for {caller}" if caller else ""
        for resource in table.values():
            values[f"{resource.type_url.rsplit('.', 1)[1]} {resource.name}{whose}"] = as_yaml(resource)
    for owner, resources in snapshot.node_resources():
        for resource in resources:
            values[f"{resource.type_url.rsplit('.', 1)[1]} {resource.name} of {owner}"] = as_yaml(resource)
    return dict(sorted(values.items()))


def compare(path: Path, text: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    expected = path.read_text(encoding="utf-8")
    assert text == expected, f"{path.relative_to(ROOT)} differs: review, then run with UPDATE_GOLDEN=1"


@pytest.mark.parametrize("name", WORLDS)
def test_world_matches_its_golden(name: str) -> None:
    values = rendered(translate(exchange(WORLDS[name])).snapshot)
    compare(GOLDENS / f"{name}.yaml", "".join(f"# {title}\n{text}" for title, text in values.items()))


def test_every_golden_has_a_world() -> None:
    assert {path.stem for path in GOLDENS.iterdir()} == set(WORLDS)


@pytest.mark.parametrize("kind", registry.kinds())
def test_example_matches_its_golden_diff(kind: str) -> None:
    example = registry.example(kind)
    more = [ADDED[kind]] if kind in ADDED else []
    of = more[0].name if more else "inventory"
    context = subset(f"{of}-v2", of) if kind != "Subset" and "kind: Subset" in example else ""
    if "kind: ExternalService" in example and kind != "ExternalService":
        context = EXTERNAL
    if kind in ("Certificate", "TLSRoute"):
        context = SECURE_GATEWAY
    if kind == "Rollout":
        context += f"---\n{registry.example('HTTPRoute')}"
    if kind == "Gateway":
        context = route("orders", "{backendRefs: [{name: orders}]}", INGRESS)
    before, after = (
        rendered(translate(exchange(f"{context}---\n{text}", *more)).snapshot) for text in ("", example)
    )
    lines: list[str] = []
    for name in sorted({*before, *after}):
        shared = name.partition(" for ")[0]
        texts = (values.get(name, values.get(shared, "")) for values in (before, after))
        old, new = (text.splitlines(keepends=True) for text in texts)
        lines += difflib.unified_diff(old, new, f"a/{name}", f"b/{name}")
    compare(Path(registry.__file__).parent / kind.lower() / "golden.diff", "".join(lines))
