"""The typed client against a server: what both agree on, and how failures arrive."""

from __future__ import annotations

import asyncio

import pytest

from meshwright.control_plane.api.calls import ChangeOptions, DocumentRef, SourcedDocument
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
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


async def test_a_mesh_changes_and_remembers(client: Client, mesh: FakeMesh) -> None:
    applied = await client.apply([retry(), retry("s", attempts=3)], ChangeOptions(message="try", author="me"))
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
    assert [instance.name for instance in await client.instances()] == ["orders-1"]
    mesh.details = (ProxyDetail(name="a-1", service="a", state="synced", revision=3, connected=True),)
    assert await client.proxies() == mesh.details
    minted = await client.create_token("gateway", "ingress", 60, "me@here")
    assert minted.token == "token-of-gateway-ingress-60"
    await client.revoke_token(minted.id)
    (listed,) = await client.tokens()
    assert (listed.id, listed.name, listed.author, listed.revoked) == (minted.id, "ingress", "me@here", True)
    with pytest.raises(ApiError, match="token missing: there is none"):
        await client.revoke_token("missing")
    assert (await client.wait(3, 5)).state == "programmed"


async def test_every_problem_of_every_document_comes_with_its_place(client: Client, mesh: FakeMesh) -> None:
    with pytest.raises(ApiError) as caught:
        await client.apply([retry(), retry("s", atempts=1, attempts="many"), retry("t"), retry("t")])
    assert (caught.value.status, caught.value.exit_code) == (422, 2)
    places = [str(place) for place in caught.value.problems]
    assert all(place.startswith("policies/") and ":7:1: " in place for place in places)
    assert [place.split(":")[0] for place in places] == [
        "policies/s.yaml",
        "policies/s.yaml",
        "policies/t.yaml",
    ]
    assert len(mesh.store.revisions) == 1


async def test_concurrent_applies_one_wins(client: Client) -> None:
    change = ChangeOptions(base=0)
    results = await asyncio.gather(
        *(client.apply([retry(f"r{number}")], change) for number in range(5)), return_exceptions=True
    )
    lost = [result for result in results if isinstance(result, ApiError)]
    assert (len(lost), {error.status for error in lost}, {error.exit_code for error in lost}) == (
        4,
        {409},
        {6},
    )
    assert len((await client.policies()).documents) == 1


async def test_what_is_not_there_is_named(client: Client) -> None:
    for asked in (
        client.revision(9),
        client.policies("nokind"),
        client.policies("retry", "x"),
        client.wait(9, 1),
    ):
        with pytest.raises(ApiError) as caught:
            await asked
        assert (caught.value.status, caught.value.code) == (404, "not-found")


async def test_a_wait_ends_when_the_sidecar_follows(client: Client, mesh: FakeMesh) -> None:
    def sidecar(state: str, revision: int) -> tuple[ProxyStatus, ...]:
        named = {"name": "orders-1", "service": "orders", "state": state, "revision": revision}
        return (ProxyStatus.model_validate(named),)

    await client.apply([retry()])
    mesh.proxies = sidecar("pending", 0)
    waiting = asyncio.create_task(client.wait(1, 20))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    mesh.proxies = sidecar("synced", 1)
    assert (await waiting).state == "programmed"


async def test_nobody_there() -> None:
    async with Client(ApiEndpoint("http://127.0.0.1:1", "t")) as client:
        with pytest.raises(UnreachableError, match=r"not reachable at http://127\.0\.0\.1:1"):
            await client.status()


async def test_a_stranger_is_no_mesh(mesh: FakeMesh) -> None:
    async with Client(ApiEndpoint(f"{mesh.url}/healthz?", mesh.token)) as client:
        with pytest.raises(ApiError, match="is this a mesh"):
            await client.status()
