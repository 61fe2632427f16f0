"""The typed client against a running server: what both agree on, and how errors arrive."""

from __future__ import annotations

import asyncio

import pytest

from meshwright.control_plane.api.calls import ChangeOptions, DocumentRef, SourcedDocument
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.api.models.policies import AttachedPolicy, ServicePolicies
from meshwright.control_plane.api.models.proxies import ProxyDetail, ProxyStatus
from tests.fakes.admin_server import FakeMesh


def retry(name: str = "r", **spec: object) -> SourcedDocument:
    """A Retry of inventory."""
    target = {"kind": "Service", "name": "inventory"}
    document = {
        "apiVersion": "meshwright.io/v1",
        "kind": "Retry",
        "metadata": {"name": name},
        "spec": {"targetRefs": [target], **spec},
    }
    return SourcedDocument(document, f"policies/{name}.yaml:7")


async def test_policies_can_be_applied_compared_deleted_and_rolled_back(client: Client) -> None:
    options = ChangeOptions(message="try", author="me")
    applied = await client.apply([retry(), retry("s", attempts=3)], options)
    assert (applied.revision, [c.action for c in applied.changed]) == (1, ["created", "created"])
    assert [d["metadata"]["name"] for d in (await client.policies()).documents] == ["r", "s"]
    assert len((await client.policies("retries", "s")).documents) == 1
    assert (await client.diff([retry("s", attempts=4)])).changed[0].action == "changed"
    assert (await client.delete([DocumentRef("retry", "r")])).revision == 2
    assert (await client.rollback(1)).revision == 3
    assert [info.revision for info in await client.history(2)] == [3, 2]
    assert [info.revision for info in await client.history(5, before=2)] == [1]
    assert (await client.revision(1)).info.message == "try"
    assert (await client.status()).revision == 3
    assert (await client.wait(3, 5)).state == "programmed"


async def test_documents_may_be_plain_mappings(client: Client) -> None:
    assert (await client.apply([retry().document])).revision == 1
    with pytest.raises(ApiError) as caught:
        await client.diff([{"kind": "Retry"}])
    assert {problem.path for problem in caught.value.problems} == {"document 1"}


async def test_instances_and_proxies_are_listed(client: Client, mesh: FakeMesh) -> None:
    assert [instance.name for instance in await client.instances()] == ["orders-1"]
    mesh.details = (ProxyDetail(name="a-1", service="a", state="synced", revision=3, connected=True),)
    assert await client.proxies() == mesh.details


async def test_join_tokens_can_be_created_listed_and_revoked(client: Client) -> None:
    created = await client.create_token("gateway", "ingress", 60, "me@here")
    assert created.token == "token-of-gateway-ingress-60"
    await client.revoke_token(created.id)
    (info,) = await client.tokens()
    assert (info.id, info.name, info.author, info.revoked) == (created.id, "ingress", "me@here", True)
    with pytest.raises(ApiError, match="no such token: missing"):
        await client.revoke_token("missing")


async def test_policies_of_a_service_and_of_an_edge(client: Client, mesh: FakeMesh) -> None:
    attached_policy = AttachedPolicy(
        kind="Retry", name="r", level="service", target="Service/orders", in_force=True, state="programmed"
    )
    wide = AttachedPolicy(
        kind="Retry", name="w", level="mesh", target="Mesh", from_=("web",), in_force=False,
        overridden_by="Retry/r",
    )  # fmt: skip
    mesh.policies["orders", ""] = ServicePolicies(service="orders", policies=(attached_policy,))
    mesh.policies["orders", "web"] = ServicePolicies(
        service="orders", from_="web", policies=(attached_policy, wide)
    )
    assert (await client.service_policies("orders")).policies == (attached_policy,)
    edge = await client.service_policies("orders", "web")
    assert (edge.from_, edge.policies) == ("web", (attached_policy, wide))
    with pytest.raises(ApiError, match="the mesh has no such service or gateway") as caught:
        await client.service_policies("nobody")
    assert caught.value.status == 404


async def test_every_problem_of_every_document_has_its_location(client: Client, mesh: FakeMesh) -> None:
    with pytest.raises(ApiError) as caught:
        await client.apply([retry(), retry("s", atempts=1, attempts="many"), retry("t"), retry("t")])
    assert (caught.value.status, caught.value.exit_code) == (422, 2)
    problems = [str(problem) for problem in caught.value.problems]
    assert all(problem.startswith("policies/") and ":7:1: " in problem for problem in problems)
    assert [problem.split(":")[0] for problem in problems] == [
        "policies/s.yaml",
        "policies/s.yaml",
        "policies/t.yaml",
    ]
    assert len(mesh.store.revisions) == 1


async def test_of_concurrent_applies_on_one_base_exactly_one_succeeds(client: Client) -> None:
    options = ChangeOptions(base=0)
    results = await asyncio.gather(
        *(client.apply([retry(f"r{number}")], options) for number in range(5)), return_exceptions=True
    )
    conflicts = [result for result in results if isinstance(result, ApiError)]
    assert len(conflicts) == 4
    assert {(error.status, error.exit_code) for error in conflicts} == {(409, 6)}
    assert len((await client.policies()).documents) == 1


async def test_unknown_names_and_revisions_are_not_found(client: Client) -> None:
    for call in (
        client.revision(9),
        client.policies("nokind"),
        client.policies("retry", "x"),
        client.wait(9, 1),
    ):
        with pytest.raises(ApiError) as caught:
            await call
        assert (caught.value.status, caught.value.code) == (404, "not-found")


async def test_a_wait_ends_when_the_sidecar_has_the_revision(client: Client, mesh: FakeMesh) -> None:
    def sidecar(state: str, revision: int) -> tuple[ProxyStatus, ...]:
        fields = {"name": "orders-1", "service": "orders", "state": state, "revision": revision}
        return (ProxyStatus.model_validate(fields),)

    await client.apply([retry()])
    mesh.proxies = sidecar("pending", 0)
    waiting = asyncio.create_task(client.wait(1, 20))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    mesh.proxies = sidecar("synced", 1)
    assert (await waiting).state == "programmed"


async def test_a_closed_port_is_unreachable() -> None:
    async with Client.connect("http://127.0.0.1:1", "t") as client:
        with pytest.raises(UnreachableError, match=r"not reachable at http://127\.0\.0\.1:1"):
            await client.status()


async def test_request_after_another_task_closed_the_client_is_an_error_of_the_mesh(mesh: FakeMesh) -> None:
    """The dashboard closes its client in an outage and at its end, while screens still send requests."""
    async with Client.connect(mesh.url, mesh.token) as client:
        await client.status()
    with pytest.raises(UnreachableError, match="the connection was closed"):
        await client.status()
    with pytest.raises(UnreachableError, match="the connection was closed"):
        _ = [event async for event in client.follow_events()]


async def test_another_web_server_is_not_a_mesh(mesh: FakeMesh) -> None:
    async with Client.connect(f"{mesh.url}/healthz?", mesh.token) as client:
        with pytest.raises(ApiError, match="is this a mesh"):
            await client.status()


async def test_a_client_is_located_by_state_directory_or_environment(
    mesh: FakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Client.locate(mesh.state) as client:
        assert (await client.status()).rights == "all"
    monkeypatch.setenv("MESH_API", mesh.url)
    monkeypatch.setenv("MESH_TOKEN_FILE", str(mesh.state / "read.token"))
    async with Client.locate() as client:
        assert (await client.status()).rights == "read"


async def test_a_client_outside_of_a_context_manager_is_an_error(mesh: FakeMesh) -> None:
    with pytest.raises(RuntimeError, match="async context manager"):
        await Client(mesh.endpoint).status()
