"""The subset of Consul's HTTP API that applications use: agent, checks, health and catalog.

Errors are plain text, as Consul's are. What Consul has and this has not answers 501 with the reason.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from typing import Any, TypeVar

import structlog
from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.sidecar.consul import answers
from meshwright.sidecar.consul.endpoints import (
    ENDPOINTS,
    Endpoint,
    UnknownDatacenterError,
    check_parameters,
    unserved_reason,
)
from meshwright.sidecar.consul.fields import ignored_fields
from meshwright.sidecar.consul.lookups import Lookups, select_by
from meshwright.sidecar.consul.model import (
    SHAPES,
    CheckDefinition,
    CheckStatus,
    CheckUpdate,
    ConsulModel,
    ServiceRegistration,
)
from meshwright.sidecar.consul.registry import Registry

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 64 * 1024

_STATUSES: dict[str, CheckStatus] = {"pass": "passing", "warn": "warning", "fail": "critical"}

Model = TypeVar("Model", bound=ConsulModel)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


OnRegister = Callable[[web.Request, str], Awaitable[None]]
"""A service of this name was registered by a request."""


class HttpApi:
    """The routes. `token`: what clients have to send; empty: nothing."""

    def __init__(
        self,
        registry: Registry,
        lookups: Lookups,
        node: answers.Node,
        on_register: OnRegister,
        token: str = "",
    ) -> None:
        self._registry = registry
        self._lookups = lookups
        self._node = node
        self._on_register = on_register
        self._token = token

    def application(self) -> web.Application:
        """The application to serve."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._guard, explain_errors])
        for endpoint in ENDPOINTS:
            app.router.add_route(endpoint.method, endpoint.path, self._handler(endpoint))
        return app

    def _handler(self, endpoint: Endpoint) -> Handler:
        """The method that serves an endpoint, for queries that it understands."""
        name = endpoint.handler
        handler: Handler = getattr(self if hasattr(self, name) else self._lookups, name)

        async def handle(request: web.Request) -> web.StreamResponse:
            check_parameters(request.query, endpoint, self._node.name)
            response = await handler(request)
            if _flag(request, "pretty") and isinstance(response, web.Response):
                _indent(response)
            return response

        return handle

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse web pages and clients without the token."""
        if "Origin" in request.headers or not _is_own_name(request.url.host or ""):
            return _text(403, "Only clients on this host, not web pages")
        if self._token and not hmac.compare_digest(_token(request).encode(), self._token.encode()):
            return _text(403, "Permission denied: X-Consul-Token is missing or wrong")
        return await handler(request)

    # Each method below serves the endpoint of its name in ENDPOINTS.

    async def agent_self(self, _: web.Request) -> web.Response:
        return web.json_response(answers.agent_self(self._node))

    async def members(self, _: web.Request) -> web.Response:
        return web.json_response([answers.member(self._node)])

    async def agent_services(self, request: web.Request) -> web.Response:
        services = {id: answers.agent_service(item) for id, item in self._registry.services.items()}
        return _selected(request, services, answers.SAMPLE_SERVICE)

    async def agent_service(self, request: web.Request) -> web.Response:
        service = self._registry.services.get(request.match_info["id"])
        if service is None:
            raise KeyError(f'Unknown service ID "{request.match_info["id"]}"')
        return web.json_response(answers.agent_service(service))

    async def register(self, request: web.Request) -> web.Response:
        definition = await _read(request, ServiceRegistration)
        await self._registry.register(definition, replace_checks=_flag(request, "replace-existing-checks"))
        await self._on_register(request, definition.name)
        notes = ignored_fields(await request.json())
        for note in notes:
            log.warning("a field of a registration has no effect", service=definition.id, reason=note)
        return web.Response(
            headers={"Warning": ", ".join(f'299 mesh "{note}"' for note in notes)} if notes else {}
        )

    async def maintain(self, request: web.Request) -> web.Response:
        if request.query.get("enable", "") not in ("true", "false"):
            raise ValueError("Missing value for enable: true or false")
        if _flag(request, "enable"):
            await self._registry.maintain(request.match_info["id"], request.query.get("reason", ""))
        else:
            await self._registry.end_maintenance(request.match_info["id"])
        return _done()

    async def deregister(self, request: web.Request) -> web.Response:
        await self._registry.deregister(request.match_info["id"])
        return _done()

    async def agent_checks(self, request: web.Request) -> web.Response:
        services = self._registry.services.values()
        checks = {id: check for service in services for id, check in service.checks.items()}
        shown = {id: check.to_json(self._node.name) for id, check in checks.items()}
        return _selected(request, shown, answers.SAMPLE_CHECK)

    async def register_check(self, request: web.Request) -> web.Response:
        await self._registry.register_check(await _read(request, CheckDefinition))
        return _done()

    async def deregister_check(self, request: web.Request) -> web.Response:
        await self._registry.deregister_check(request.match_info["id"])
        return _done()

    async def set_check(self, request: web.Request) -> web.Response:
        status = _STATUSES[request.match_info["verb"]]
        self._registry.update(request.match_info["id"], status, request.query.get("note", ""))
        return _done()

    async def update_check(self, request: web.Request) -> web.Response:
        update = await _read(request, CheckUpdate)
        self._registry.update(request.match_info["id"], update.status, update.output)
        return _done()


@web.middleware
async def explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into plain text."""
    try:
        return await handler(request)
    except ValidationError as error:
        return _text(400, _wrong_field(error.errors(include_url=False)[0]))
    except ValueError as error:
        return _text(400, str(error))
    except KeyError as error:
        return _text(404, str(error.args[0]))
    except (UnreachableError, ApiError) as error:
        return _text(500, f"The mesh does not answer: {error}")
    except UnknownDatacenterError as error:
        return _text(500, str(error))
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        return _unserved(request.path, error)
    except web.HTTPException as error:
        return _text(error.status, error.reason)


def _wrong_field(error: ErrorDetails) -> str:
    """Which field is wrong, and what it should be."""
    where = ".".join(map(str, error["loc"]))
    reason = error["msg"].removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":
        reason = f"{error['input'][:63]!r} is not {SHAPES[str(error['loc'][-1])]}"
    return f"{where}: {reason}" if where else reason


def _unserved(path: str, error: web.HTTPException) -> web.Response:
    if reason := unserved_reason(path):
        return _text(501, f"{path} is not served here: {reason}")
    if isinstance(error, web.HTTPMethodNotAllowed):
        return _text(405, f"{path} takes {', '.join(sorted(error.allowed_methods))}")
    return _text(404, f"{path} is not served here: services, checks, health and catalog are")


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


def _indent(response: web.Response) -> None:
    """Spread JSON over lines, as Consul does."""
    if response.content_type == "application/json" and response.text is not None:
        response.text = json.dumps(json.loads(response.text), indent=4) + "\n"


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "false") not in ("false", "0")


def _selected(request: web.Request, items: Mapping[str, answers.Json], sample: answers.Json) -> web.Response:
    """The items by ID that match the query's filter."""
    expression = select_by(request, sample)
    matching = {id: item for id, item in items.items() if expression is None or expression.select([item])}
    return web.json_response(matching)


def _done() -> web.Response:
    return web.Response(status=200)


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")
