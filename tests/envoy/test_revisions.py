"""Revisions on a live mesh: apply, history, rollback, conflicts, and the policies in force."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
from ruamel.yaml import YAML

from meshwright.control_plane.api import errors
from meshwright.control_plane.api.calls import SourcedDocument
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.models.policies import AttachedPolicy
from tests.envoy.envoy_admin import config_dump
from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until

NAMES = ("ingress", "front-1", "back-1")


def route(status: str, name: str = "front", backend: str = "front") -> str:
    """A gateway route that sets a response header to the version in force."""
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{kind: Gateway, name: ingress}}]
  rules:
    - filters:
        - type: ResponseHeaderModifier
          responseHeaderModifier: {{set: [{{name: x-version, value: "{status}"}}]}}
      backendRefs: [{{name: {backend}}}]
"""


def retry(target: str, attempts: int) -> str:
    """A Retry policy for a service."""
    return f"""
apiVersion: meshwright.io/v1
kind: Retry
metadata: {{name: {target}-retry}}
spec:
  targetRefs: [{{kind: Service, name: {target}}}]
  attempts: {attempts}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(tmp_path_factory.mktemp("revisions"), [service("front"), service("back")]) as running:
        running.apply(route("one"))
        assert running.get("front-1", "http://back/echo").status_code == 200
        yield running


def version(mesh: Mesh) -> str:
    """The version of the route that is in force."""
    return mesh.outside("/echo").headers.get("x-version", "")


def resources(mesh: Mesh) -> dict[str, Any]:
    """The dynamic configuration of each Envoy with its versions, without the times of updates."""
    return {name: _timeless(config_dump(mesh, name)["configs"]) for name in NAMES}


def _timeless(result: Any) -> Any:
    if isinstance(result, dict):
        return {key: _timeless(item) for key, item in result.items() if key != "last_updated"}
    if isinstance(result, list):
        return sorted((_timeless(item) for item in result), key=lambda item: json.dumps(item, sort_keys=True))
    return result


def test_a_rollback_restores_identical_resources(mesh: Mesh) -> None:
    first = mesh.apply(route("one"))
    before = resources(mesh)
    mesh.apply(route("two") + "---" + retry("back", 3) + "---" + retry("front", 2))
    assert version(mesh) == "two"
    assert resources(mesh) != before, "the change has an effect"
    stdout = mesh.run("rollback", str(first), "--dry-run").stdout
    assert "affected proxies: front-1, ingress\n" in stdout
    assert version(mesh) == "two"
    mesh.run("rollback", str(first), "--wait", "-m", "back again")
    assert version(mesh) == "one"
    until(lambda: resources(mesh) == before, "each Envoy has its former resources")


def test_of_two_concurrent_applies_one_succeeds_and_the_other_is_a_conflict(mesh: Mesh) -> None:
    base = mesh.status()["revision"]
    command = [sys.executable, "-m", "meshwright.cli", "apply", "-f", "-", "--expect-revision", str(base)]
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=mesh.environment,
            cwd=ROOT,
        )
        for _ in range(2)
    ]
    stderrs = []
    for process, status in zip(processes, ("left", "right"), strict=True):
        assert process.stdin is not None
        process.stdin.write(route(status))
        process.stdin.close()
        process.stdin = None
    for process in processes:
        stderrs.append(process.communicate(timeout=60)[1])
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, errors.CONFLICT], stderrs
    assert mesh.status()["revision"] == base + 1
    mesh.run("apply", "-f", "-", "--wait", stdin=retry("back", 2))
    assert version(mesh) == ("left", "right")[codes.index(0)]
    assert len(stderrs[codes.index(errors.CONFLICT)].strip().splitlines()) == 1


def test_concurrent_applies_of_different_policies_without_a_base_all_succeed(mesh: Mesh) -> None:
    writers, each = 6, 8
    base = mesh.status()["revision"]

    async def write(client: Client, writer: int) -> list[int]:
        documents = (
            YAML(typ="safe").load(retry(f"w{writer}-{number}", number + 1)) for number in range(each)
        )
        return [(await client.apply([SourcedDocument(document)])).revision for document in documents]

    async def write_all() -> list[list[int]]:
        async with Client.locate(mesh.state) as client:
            return await asyncio.gather(*(write(client, writer) for writer in range(writers)))

    revisions = sorted(chain.from_iterable(asyncio.run(write_all())))
    assert revisions == list(range(base + 1, base + 1 + writers * each))
    shown = mesh.run("get", "retry", "-o", "jsonpath={.items[*].metadata.name}").stdout.split()
    assert set(shown) >= {f"w{writer}-{number}-retry" for writer in range(writers) for number in range(each)}
    mesh.run("rollback", str(base))


def test_history_show_diff_and_delete_report_the_changes(mesh: Mesh) -> None:
    first = mesh.apply(route("three"), "-m", "for a look")
    newest = json.loads(mesh.run("history", "-o", "json").stdout)["items"][0]
    assert (newest["revision"], newest["message"]) == (first, "for a look")
    assert "@" in newest["author"]
    assert "three" in mesh.run("show", str(first), "-o", "yaml").stdout
    difference = mesh.run("diff", "-f", "-", stdin=route("four"), check=False).stdout
    assert any(line.startswith("-") and "three" in line for line in difference.splitlines())
    assert any(line.startswith("+") and "four" in line for line in difference.splitlines())
    assert difference.startswith("touches "), difference
    assert version(mesh) == "three"
    mesh.delete("HTTPRoute", "front")
    assert mesh.outside("/echo").status_code == 404
    mesh.run("rollback", str(first), "--wait")
    assert version(mesh) == "three"


def test_the_same_policy_again_changes_no_resource(mesh: Mesh) -> None:
    mesh.apply(route("five"))
    before = resources(mesh)
    mesh.apply(route("five"))
    assert resources(mesh) == before


def test_a_dry_run_changes_nothing(mesh: Mesh) -> None:
    revision = mesh.status()["revision"]
    mesh.run("apply", "-f", "-", "--dry-run", stdin=route("dry"))
    assert mesh.status()["revision"] == revision
    assert version(mesh) != "dry"


def test_a_missing_target_is_a_warning_and_does_not_block_other_changes(mesh: Mesh) -> None:
    before = mesh.status()["revision"]
    refused = mesh.run("apply", "-f", "-", "--wait", stdin=retry("nobody", 3), check=False)
    assert refused.returncode == 2
    assert "name: there is no Service nobody yet" in refused.stderr
    assert mesh.status()["revision"] == before
    applied = mesh.run("apply", "-f", "-", "--wait", "--no-strict", stdin=retry("nobody", 3))
    assert "warning" in applied.stderr and "nobody" in applied.stderr
    mesh.run("apply", "-f", "-", "--wait", stdin=route("here"))
    assert version(mesh) == "here"


def test_the_api_serves_the_policies_of_an_edge_with_their_states(mesh: Mesh) -> None:
    mesh_wide = retry("all", 1).replace("{kind: Service, name: all}", "{kind: Mesh}")
    mesh.apply(mesh_wide + "---" + retry("back", 2))

    async def read() -> tuple[AttachedPolicy, ...]:
        async with Client.locate(mesh.state) as client:
            return (await client.service_policies("back", "front")).policies

    policies = {f"{policy.kind}/{policy.name}": policy for policy in asyncio.run(read())}
    assert policies.keys() == {"Retry/back-retry", "Retry/all-retry"}
    specific, overridden = policies["Retry/back-retry"], policies["Retry/all-retry"]
    assert (specific.in_force, specific.level, specific.state) == (True, "service", "programmed")
    assert (overridden.in_force, overridden.overridden_by) == (False, "Retry/back-retry")
