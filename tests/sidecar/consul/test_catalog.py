"""The services of the mesh as clients of an agent look them up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from meshwright.control_plane.api.errors import UnreachableError
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.sidecar.consul.catalog import Catalog
from meshwright.sidecar.consul.model import TAG_LABEL


class Instances:
    """The mesh: `answer` is what it says, None while it is away."""

    def __init__(self) -> None:
        self.answer: list[InstanceStatus] | None = []

    async def fetch(self) -> Iterable[InstanceStatus]:
        if self.answer is None:
            raise UnreachableError("127.0.0.1:1", "refused")
        return self.answer


def instance(service: str, name: str, **fields: object) -> InstanceStatus:
    return InstanceStatus.model_validate(
        {"name": name, "service": service, "address": "127.0.0.1:1", "health": "healthy", **fields}
    )


async def test_a_query_waits_for_its_service_alone_and_an_outage_changes_nothing() -> None:
    mesh = Instances()
    catalog = Catalog(mesh.fetch)
    following = asyncio.create_task(catalog.run())
    try:
        await until(catalog, lambda: catalog.is_known)
        first = catalog.index_of("orders")
        orders = asyncio.create_task(catalog.wait("orders", first, 60))
        anything = asyncio.create_task(catalog.wait("", catalog.index_of(), 60))

        mesh.answer = [instance("users", "users-1")]
        catalog.refresh()
        await anything
        assert not orders.done()
        assert catalog.index_of("orders") == first < catalog.index_of("users")

        mesh.answer = [*mesh.answer, instance("orders", "orders-1")]
        catalog.refresh()
        await orders
        assert [item.name for item in catalog.services["orders"]] == ["orders-1"]

        mesh.answer, index = None, catalog.index
        await until(catalog, lambda: not catalog.is_current)
        assert catalog.index == index
        assert sorted(catalog.services) == ["orders", "users"]

        mesh.answer = [instance("orders", "orders-1", health="unhealthy")]
        await until(catalog, lambda: catalog.index > index)
        assert catalog.is_current
        assert sorted(catalog.services) == ["orders"]
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def until(catalog: Catalog, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            catalog.refresh()
            await asyncio.sleep(0.01)


async def test_a_wait_ends_with_its_time() -> None:
    catalog = Catalog(Instances().fetch)
    await catalog.wait("orders", catalog.index_of("orders"), 0.01)


async def test_a_tag_leads_to_its_service_if_no_healthy_instance_is_without_it() -> None:
    mesh = Instances()
    catalog = Catalog(mesh.fetch)
    v1, canary = {f"{TAG_LABEL}V1": "true"}, {f"{TAG_LABEL}v1": "true", f"{TAG_LABEL}canary": "true"}
    mesh.answer = [
        instance("orders", "orders-1", labels=v1),
        instance("orders", "orders-2", labels=canary),
        instance("orders", "orders-3", health="unhealthy"),
        instance("users", "users-1", health="draining", labels=v1),
    ]
    following = asyncio.create_task(catalog.run())
    try:
        await until(catalog, lambda: catalog.is_known)
        assert [catalog.leads_to("orders", tag) for tag in ("", "v1", "canary", "v2")] == [
            True,
            True,
            False,
            False,
        ]
        assert not any(catalog.leads_to("users", tag) for tag in ("", "v1"))
        assert not catalog.leads_to("carts", "")

        mesh.answer = mesh.answer[1:]
        await until(catalog, lambda: catalog.leads_to("orders", "canary"))
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
