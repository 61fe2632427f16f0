"""From an HTTP request to a route's handler and back: parameters, body, response as models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from meshwright.control_plane.admin.compute import ComputeSlots, caller_limits
from meshwright.control_plane.admin.route import NoBody, RawJson, Route
from meshwright.control_plane.admin.sse import SseStreams, accepts_event_stream
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.errors import InputError

BODY_TIMEOUT = 30.0
"""Seconds within which the body of a request must arrive."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Model = TypeVar("Model", bound=ApiModel)


def endpoint(route: Route, streams: SseStreams, slots: ComputeSlots) -> Handler:
    """The aiohttp handler of a route."""

    async def respond(request: web.Request) -> web.StreamResponse:
        params = _validate(route.params, _parameters(request))
        if route.stream and accepts_event_stream(request):
            last_event_id = request.headers.get("Last-Event-ID", "")
            return await streams.send(request, route.stream(params, last_event_id))
        content = await _read_body(request) if route.body is not NoBody else b""
        if not route.computes:
            return json_response(200, await route.handler(params, _body(route, content)))
        async with slots.turn():
            return json_response(200, await route.handler(params, _body(route, content)))

    return respond


def _body(route: Route, content: bytes) -> ApiModel:
    return NoBody() if route.body is NoBody else _validate(route.body, content)


async def _read_body(request: web.Request) -> bytes:
    """The body. Raises InputError for a slow one, and HTTPRequestEntityTooLarge."""
    limit = caller_limits().body_bytes
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            content = await request.read()
    except TimeoutError:
        raise InputError(f"the body did not arrive within {BODY_TIMEOUT:g} s") from None
    if len(content) > limit:
        raise web.HTTPRequestEntityTooLarge(limit, len(content))
    return content


def json_response(status: int, model: BaseModel) -> web.Response:
    """A response with a model as JSON."""
    text = model.text if isinstance(model, RawJson) else model.model_dump_json(by_alias=True)
    return web.Response(status=status, body=text.encode(), content_type="application/json")


def _parameters(request: web.Request) -> dict[str, str]:
    """Path and query parameters as one mapping; raises InputError for a duplicate."""
    parameters = dict(request.match_info)
    for name, value in request.query.items():
        if name in parameters:
            raise InputError(f"parameter {name[:40]!r} is given twice")
        parameters[name] = value
    return parameters


def _validate(model: type[Model], data: bytes | dict[str, str]) -> Model:
    """The model of a body or of parameters; raises InputError with the first problem."""
    try:
        if isinstance(data, bytes):
            return model.model_validate_json(data)
        return model.model_validate_strings(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        message = _expected_form(model, field) if first["type"] == "string_pattern_mismatch" else ""
        message = message or first["msg"]
        raise InputError(f"{field}: {message}" if field else message) from None


def _expected_form(model: type[ApiModel], name: str) -> str:
    """What a field must be, from its description; empty without one."""
    field = model.model_fields.get(name)
    text = field.description if field else None
    return f"expected {text[0].lower()}{text[1:].rstrip('.')}" if text else ""
