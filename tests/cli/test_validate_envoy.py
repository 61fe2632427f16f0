"""`mesh validate --envoy`: a real Envoy's verdict on files, without a mesh."""

from __future__ import annotations

import json
from pathlib import Path

from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.policies import registry
from meshwright.control_plane.policies.loader import load
from meshwright.control_plane.verification.described_world import described_world
from tests.cli.conftest import RunMesh
from tests.cli.samples import retry

PATCH = """\
apiVersion: meshwright.io/v1
kind: EnvoyPatch
metadata: {name: p}
spec:
  targetRefs: [{kind: Service, name: inventory}]
  patches:
    - type: Cluster
      name: inventory
      operations:
        - {op: add, path: /connect_timeout, value: 0s}
"""


def test_services_and_gateways_that_policies_name_exist_with_the_ports_that_routes_say() -> None:
    route = """
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: r}
spec:
  parentRefs: [{name: edge}, {kind: Service, group: "", name: orders, port: 9090}]
  rules: [{backendRefs: [{name: stock, port: 9091}, {name: known}]}]
"""
    text = f"{route}---\n{retry('x', 'inventory')}"
    policies = [item.policy for item in load(text.encode(), "p.yaml").documents]
    world = described_world({"known": ()}, (), policies)
    ports = {
        name: [(port.protocol, port.number) for port in service.ports]
        for name, service in world.services.items()
    }
    assert ports == {
        "inventory": [("http", 0)],
        "known": [],
        "orders": [("http", 0), ("grpc", 9090)],
        "stock": [("http", 0), ("grpc", 9091)],
    }
    assert world.gateways == ("edge", "ingress")
    assert not translate(world).snapshot.problems


async def test_envoys_words_are_at_the_field_and_accepted_policies_are_valid(
    run: RunMesh, tmp_path: Path
) -> None:
    rejected = await run("validate", "--envoy", "-", "-o", "json", text=PATCH)
    (problem,) = json.loads(rejected.out)["problems"]
    assert (rejected.code, problem["line"], problem["column"]) == (2, 7, 7), rejected.err
    assert problem["message"].startswith(
        "spec.patches[0].type: Envoy rejects Cluster inventory: Proto constraint"
    )
    folder = tmp_path / "examples"
    folder.mkdir()
    for kind in registry.kinds():
        (folder / f"{kind}.yaml").write_text(registry.example(kind))
    accepted = await run("validate", "--envoy", "examples")
    assert (accepted.code, accepted.out) == (0, f"{len(registry.kinds())} documents valid\n"), accepted.err
    secret = (
        registry.example("BasicAuthentication").partition("  users:")[0] + "  users: {inline: <redacted>}\n"
    )
    redacted = await run("validate", "--envoy", "-", text=secret)
    assert (redacted.code, "its secret is redacted" in redacted.err) == (0, True), redacted.err


async def test_without_an_envoy_it_fails(run: RunMesh, tmp_path: Path) -> None:
    failed = await run("validate", "--envoy", "-", text=retry(), env={"MESH_ENVOY": str(tmp_path / "none")})
    assert (failed.code, failed.out) == (1, "")
    assert failed.err.startswith("no Envoy has checked it: MESH_ENVOY: ")
