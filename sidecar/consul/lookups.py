"""Look-ups by Consul's HTTP API: health and catalog, with blocking queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.sidecar.consul import answers
from meshwright.sidecar.consul.catalog import Catalog
from meshwright.sidecar.consul.endpoints import DATACENTER
from meshwright.sidecar.consul.filters import FilterExpression
from meshwright.sidecar.consul.model import parse_duration

MAX_WATCHES = 512
"""Blocking queries that wait at the same time."""

DEFAULT_WAIT = 300.0
MAX_WAIT = 600.0
"""Seconds that a blocking query waits, as in Consul."""

AddressOf = Callable[[web.Request, str, int], Awaitable[tuple[str, int] | None]]
"""Where the client of a request reaches a service that registered a port."""

NameId = Callable[[InstanceStatus], str]
"""The ID by which clients know an instance (Registry.id_of)."""


class Lookups:
    """Handlers of /v1/health, /v1/catalog and /v1/status. They raise ValueError for a wrong query."""

    def __init__(self, catalog: Catalog, address_of: AddressOf, node: answers.Node, id_of: NameId) -> None:
        self._catalog = catalog
        self._address_of = address_of
        self._node = node
        self._id_of = id_of
        self._watches = 0

    async def leader(self, _: web.Request) -> web.Response:
        """`/v1/status/leader`."""
        return web.json_response(self._node.server if self._catalog.is_current else "")

    async def peers(self, _: web.Request) -> web.Response:
        """`/v1/status/peers`."""
        return web.json_response([self._node.server] if self._catalog.is_current else [])

    async def datacenters(self, _: web.Request) -> web.Response:
        """`/v1/catalog/datacenters`."""
        return web.json_response([DATACENTER])

    async def nodes(self, request: web.Request) -> web.Response:
        """`/v1/catalog/nodes`."""
        await self._block(request, "")
        return self._indexed([{**self._node.to_json(), "ID": ""}], "")

    async def health_service(self, request: web.Request) -> web.Response:
        """`/v1/health/service/NAME`."""
        expression = select_by(request, answers.health_entry(answers.SAMPLE, self._node, ("", 0), ""))
        instances, name = await self._instances(request), request.match_info["name"]
        address = await self._address(request, name)
        entries = [
            answers.health_entry(item, self._node, address, self._id_of(item))
            for item in instances
            if address is not None
        ]
        return self._indexed(expression.select(entries) if expression else entries, name)

    async def health_checks(self, request: web.Request) -> web.Response:
        """`/v1/health/checks/NAME`."""
        expression = select_by(request, answers.mesh_check(answers.SAMPLE, self._node, ""))
        instances = await self._instances(request)
        entries = [answers.mesh_check(item, self._node, self._id_of(item)) for item in instances]
        return self._indexed(
            expression.select(entries) if expression else entries, request.match_info["name"]
        )

    async def catalog_services(self, request: web.Request) -> web.Response:
        """`/v1/catalog/services`."""
        await self._block(request, "")
        services = self._catalog.services.items()
        return self._indexed({name: answers.tags_of(instances) for name, instances in services}, "")

    async def catalog_service(self, request: web.Request) -> web.Response:
        """`/v1/catalog/service/NAME`."""
        expression = select_by(request, answers.catalog_entry(answers.SAMPLE, self._node, ("", 0), ""))
        instances, name = await self._instances(request), request.match_info["name"]
        address = await self._address(request, name)
        entries = [
            answers.catalog_entry(item, self._node, address, self._id_of(item))
            for item in instances
            if address is not None
        ]
        return self._indexed(expression.select(entries) if expression else entries, name)

    async def _instances(self, request: web.Request) -> list[InstanceStatus]:
        """The instances that a query asks for, by `passing` and `tag`, after it has waited."""
        name = request.match_info["name"]
        await self._block(request, name)
        passing = request.query.get("passing", "false") not in ("false", "0")
        tags = request.query.getall("tag", [])
        return [
            instance
            for instance in self._catalog.services.get(name, ())
            if (not passing or answers.status_of(instance) == "passing") and answers.has_tags(instance, tags)
        ]

    async def _address(self, request: web.Request, name: str) -> tuple[str, int] | None:
        instances = self._catalog.services.get(name)
        return await self._address_of(request, name, answers.port_of(instances)) if instances else None

    async def _block(self, request: web.Request, service: str) -> None:
        """Wait as a blocking query asks: until its `index` is not the present one, at most `wait`."""
        index = request.query.get("index", "")
        if index and not (index.isdecimal() and len(index) < 20):
            raise ValueError("index is a number, from X-Consul-Index of the last answer")
        wait = parse_duration(request.query.get("wait", "")) or DEFAULT_WAIT
        consistent = request.query.get("consistent", "false") not in ("false", "0")
        if consistent and not await self._catalog.look():
            raise web.HTTPInternalServerError(reason="No cluster leader: the control plane is away")
        if not int(index or 0) or self._catalog.index_of(service) != int(index):
            return
        if self._watches >= MAX_WATCHES:
            raise web.HTTPTooManyRequests(reason="Too many blocking queries")
        self._watches += 1
        try:
            await self._catalog.wait(service, int(index), min(wait, MAX_WAIT))
        finally:
            self._watches -= 1

    def _indexed(self, answer: object, service: str) -> web.Response:
        if not self._catalog.is_known:
            raise web.HTTPInternalServerError(reason="No cluster leader: the mesh has not answered yet")
        headers = {
            "X-Consul-Index": str(self._catalog.index_of(service)),
            "X-Consul-KnownLeader": "true" if self._catalog.is_current else "false",
            "X-Consul-LastContact": "0",
        }
        return web.json_response(answer, headers=headers)


def select_by(request: web.Request, sample: answers.Json) -> FilterExpression | None:
    """The query's `filter` over entries such as `sample`; None without one. Raises ValueError."""
    text = request.query.get("filter", "").strip()
    return FilterExpression(text, sample) if text else None
