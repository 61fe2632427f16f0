"""The subset of Consul's HTTP API that applications use: agent, checks, health and catalog.

Errors are plain text, as Consul's are. What is not here answers 404 and says so.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.sidecar.consul import answers
from meshwright.sidecar.consul.catalog import Catalog
from meshwright.sidecar.consul.model import (
    CheckDefinition,
    CheckStatus,
    CheckUpdate,
    ConsulModel,
    ServiceRegistration,
    parse_duration,
)
from meshwright.sidecar.consul.registry import Registry

MAX_BODY_BYTES = 64 * 1024

MAX_WATCHES = 512
"""Blocking queries that wait at the same time."""

DEFAULT_WAIT = 300.0
MAX_WAIT = 600.0
"""Seconds that a blocking query waits, as in Consul."""

_STATUSES: dict[str, CheckStatus] = {"pass": "passing", "warn": "warning", "fail": "critical"}

Model = TypeVar("Model", bound=ConsulModel)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

AddressOf = Callable[[str, int], Awaitable[tuple[str, int] | None]]
"""Where this host reaches a service that registered a port (NameProxy.address_of)."""


class HttpApi:
    """The routes. `token`: what clients have to send; empty: nothing."""

    def __init__(
        self, registry: Registry, catalog: Catalog, address_of: AddressOf, node: answers.Node, token: str = ""
    ) -> None:
        self._registry = registry
        self._catalog = catalog
        self._address_of = address_of
        self._node = node
        self._token = token
        self._watches = 0

    def application(self) -> web.Application:
        """The application to serve."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/v1/status/leader", self._leader),
                web.get("/v1/agent/self", self._self),
                web.get("/v1/agent/services", self._agent_services),
                web.get("/v1/agent/service/{id:.+}", self._agent_service),
                web.put("/v1/agent/service/register", self._register),
                web.put("/v1/agent/service/deregister/{id:.+}", self._deregister),
                web.get("/v1/agent/checks", self._agent_checks),
                web.put("/v1/agent/check/register", self._register_check),
                web.put("/v1/agent/check/deregister/{id:.+}", self._deregister_check),
                web.put("/v1/agent/check/update/{id:.+}", self._update_check),
                web.put("/v1/agent/check/{verb:pass|warn|fail}/{id:.+}", self._set_check),
                web.get("/v1/health/service/{name}", self._health_service),
                web.get("/v1/health/checks/{name}", self._health_checks),
                web.get("/v1/catalog/services", self._catalog_services),
                web.get("/v1/catalog/service/{name}", self._catalog_service),
                web.get("/v1/catalog/datacenters", self._datacenters),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse web pages and clients without the token; turn errors into plain text."""
        if "Origin" in request.headers or not _is_own_name(request.url.host or ""):
            return _text(403, "Only clients on this host, not web pages")
        if self._token and not hmac.compare_digest(_token(request).encode(), self._token.encode()):
            return _text(403, "Permission denied: X-Consul-Token is missing or wrong")
        try:
            return await handler(request)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            return _text(400, f"{where}: {first['msg']}" if where else str(first["msg"]))
        except ValueError as error:
            return _text(400, str(error))
        except KeyError as error:
            return _text(404, str(error.args[0]))
        except (UnreachableError, ApiError) as error:
            return _text(500, f"The mesh does not answer: {error}")
        except web.HTTPNotFound:
            return _text(404, f"{request.path} is not served here: services, checks, health and catalog are")
        except web.HTTPException as error:
            return _text(error.status, error.reason)

    async def _leader(self, _: web.Request) -> web.Response:
        return web.json_response(f"{self._node.address}:8300" if self._catalog.is_current else "")

    async def _datacenters(self, _: web.Request) -> web.Response:
        return web.json_response([answers.DATACENTER])

    async def _self(self, _: web.Request) -> web.Response:
        return web.json_response(answers.agent_self(self._node))

    async def _agent_services(self, _: web.Request) -> web.Response:
        return web.json_response(
            {id: answers.agent_service(service) for id, service in self._registry.services.items()}
        )

    async def _agent_service(self, request: web.Request) -> web.Response:
        service = self._registry.services.get(request.match_info["id"])
        if service is None:
            raise KeyError(f'Unknown service ID "{request.match_info["id"]}"')
        return web.json_response(answers.agent_service(service))

    async def _register(self, request: web.Request) -> web.Response:
        await self._registry.register(await _read(request, ServiceRegistration))
        return _done()

    async def _deregister(self, request: web.Request) -> web.Response:
        await self._registry.deregister(request.match_info["id"])
        return _done()

    async def _agent_checks(self, _: web.Request) -> web.Response:
        services = self._registry.services.values()
        return web.json_response(
            {
                id: check.to_json(self._node.name)
                for service in services
                for id, check in service.checks.items()
            }
        )

    async def _register_check(self, request: web.Request) -> web.Response:
        await self._registry.register_check(await _read(request, CheckDefinition))
        return _done()

    async def _deregister_check(self, request: web.Request) -> web.Response:
        await self._registry.deregister_check(request.match_info["id"])
        return _done()

    async def _set_check(self, request: web.Request) -> web.Response:
        status = _STATUSES[request.match_info["verb"]]
        self._registry.update(request.match_info["id"], status, request.query.get("note", ""))
        return _done()

    async def _update_check(self, request: web.Request) -> web.Response:
        update = await _read(request, CheckUpdate)
        self._registry.update(request.match_info["id"], update.status, update.output)
        return _done()

    async def _health_service(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        await self._block(request, name)
        instances, ids = self._instances(request), self._registry.id_of
        address = await self._address(name)
        entries = (
            [answers.health_entry(item, self._node, address, ids(item)) for item in instances]
            if address
            else []
        )
        return self._indexed(entries, name)

    async def _health_checks(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        await self._block(request, name)
        return self._indexed(
            [
                answers.mesh_check(item, self._node, self._registry.id_of(item))
                for item in self._instances(request)
            ],
            name,
        )

    async def _catalog_services(self, request: web.Request) -> web.Response:
        await self._block(request, "")
        services = self._catalog.services.items()
        return self._indexed({name: answers.tags_of(instances) for name, instances in services}, "")

    async def _catalog_service(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        await self._block(request, name)
        instances, ids = self._instances(request), self._registry.id_of
        address = await self._address(name)
        entries = (
            [answers.catalog_entry(item, self._node, address, ids(item)) for item in instances]
            if address
            else []
        )
        return self._indexed(entries, name)

    def _instances(self, request: web.Request) -> list[InstanceStatus]:
        """The instances that a query asks for, by `passing` and `tag`."""
        passing = request.query.get("passing", "false") not in ("false", "0")
        tags = request.query.getall("tag", [])
        return [
            instance
            for instance in self._catalog.services.get(request.match_info["name"], ())
            if (not passing or answers.status_of(instance) == "passing") and answers.has_tags(instance, tags)
        ]

    async def _address(self, name: str) -> tuple[str, int] | None:
        instances = self._catalog.services.get(name)
        return await self._address_of(name, answers.port_of(instances)) if instances else None

    async def _block(self, request: web.Request, service: str) -> None:
        """Wait as a blocking query asks: until its `index` is not the present one, at most `wait`."""
        index = request.query.get("index", "")
        if index and not (index.isdecimal() and len(index) < 20):
            raise ValueError("index is a number, from X-Consul-Index of the last answer")
        wait = parse_duration(request.query.get("wait", "")) or DEFAULT_WAIT
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
            return _text(500, "No cluster leader: the mesh has not answered yet")
        headers = {
            "X-Consul-Index": str(self._catalog.index_of(service)),
            "X-Consul-KnownLeader": "true" if self._catalog.is_current else "false",
            "X-Consul-LastContact": "0",
        }
        return web.json_response(answer, headers=headers)


async def _read(request: web.Request, model: type[Model]) -> Model:
    """The body; raises ValueError."""
    try:
        value: Any = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise ValueError("Request decode failed: the body is not JSON") from None
    return model.model_validate(value)


def _token(request: web.Request) -> str:
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return request.headers.get("X-Consul-Token", "") or bearer or request.query.get("token", "")


def _is_own_name(host: str) -> bool:
    """Whether a client called this host by an address or as localhost: any other name may be a web page's."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    return True


def _done() -> web.Response:
    return web.Response(status=200)


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")
