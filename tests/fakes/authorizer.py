"""An authorizer over HTTP and over gRPC (ext_authz), which decides as the request asks and keeps what it got.

`x-decide: allow` lets the request in; with `x-decide: allow-as NAME` the application gets `x-user: NAME` and,
which no policy permits, `x-other`. Anything else is refused with 401 and a body of JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass

from meshwright.control_plane.envoy import v3
from tests.fakes.http_server import running_http_server

_AUTH = "envoy.service.auth.v3"
_CheckRequest, _CheckResponse = (
    GetMessageClass(v3.POOL.FindMessageTypeByName(f"{_AUTH}.{name}"))
    for name in ("CheckRequest", "CheckResponse")
)

REFUSAL = {"error": "who are you?"}

PERMISSION_DENIED = 7


def _decide(headers: dict[str, str]) -> tuple[bool, dict[str, str]]:
    """Whether the request is let in, and the headers of the answer."""
    verdict, _, user = headers.get("x-decide", "").partition(" ")
    if not verdict.startswith("allow"):
        return False, {"www-authenticate": "Fake", "content-type": "application/json"}
    return True, {"x-user": user, "x-other": "1", "set-cookie": "s=1"} if user else {}


@contextmanager
def http_authorizer() -> Iterator[tuple[int, list[tuple[str, str, dict[str, str]]]]]:
    """The port, and what it got: method, path and headers of each request."""
    received: list[tuple[str, str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_check(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            received.append((self.command, self.path, {**headers, "body": body.decode()}))
            allowed, answer = _decide(headers)
            text = b"" if allowed else json.dumps(REFUSAL).encode()
            self.send_response(200 if allowed else 401)
            for name, value in {**answer, "content-length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = handle_check

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is written."""

    with running_http_server(Handler) as port:
        yield port, received


@contextmanager
def grpc_authorizer() -> Iterator[tuple[int, list[Any]]]:
    """The port, and the CheckRequests that it got."""
    received: list[Any] = []

    def check(body: bytes, _: grpc.ServicerContext) -> bytes:
        request: Any = _CheckRequest.FromString(body)
        received.append(request)
        allowed, headers = _decide(dict(request.attributes.request.http.headers))
        response: Any = _CheckResponse()
        answer = response.ok_response if allowed else response.denied_response
        for name, value in headers.items():
            answer.headers.add().header.MergeFrom(v3.HeaderValue(key=name, value=value))
        if not allowed:
            response.status.code = PERMISSION_DENIED
            answer.status.code = 401
            answer.body = json.dumps(REFUSAL)
        encoded: bytes = response.SerializeToString()
        return encoded

    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(check)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(f"{_AUTH}.Authorization", {"Check": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port, received
    finally:
        server.stop(None).wait()
