"""The call that the explain screen asks about, as it is typed into its fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from pydantic import ValidationError

from meshwright.control_plane.api.models.authorization import AccessQuery
from meshwright.control_plane.api.models.requests import Request
from meshwright.control_plane.api.models.topology import Topology
from meshwright.control_plane.errors import InputError

_NEXT_HEADER = re.compile(r";\s*(?=[\w!#$%&'*+.^`|~-]+:)")
"""Between two headers. A `;` within a value, as in a cookie, is not followed by a name and a colon."""


@dataclass(frozen=True, slots=True)
class Question:
    """The texts of the fields: `request` is `METHOD PATH`, `headers` is `name: value; name: value`.

    `claims` is `name=value; name=value`, of a verified token.
    """

    caller: str = ""
    callee: str = ""
    request: str = "GET /"
    host: str = ""
    headers: str = ""
    claims: str = ""

    def query(self, gateways: Collection[str]) -> AccessQuery:
        """What the API is asked; of a call through a gateway, its routes say which service is called.

        Raises InputError for a text that is no request or no header.
        """
        method, path = _request_line(self.request)
        at_gateway = self.caller in gateways
        try:
            return AccessQuery(
                caller="" if at_gateway else self.caller,
                service="" if at_gateway else self.callee,
                gateway=self.caller if at_gateway else "",
                method=method,
                path=path,
                host=self.host,
                headers=tuple(_headers(self.headers)),
                claims=dict(_claims(self.claims)),
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"{first['loc'][0]}: {first['msg']}") from error


def _request_line(text: str) -> tuple[str, str]:
    """Method and path, of which people leave the first out, too."""
    words = text.split()
    if words[:1] and words[0].startswith("/"):
        words.insert(0, "GET")
    if len(words) != 2 or not words[1].startswith("/"):
        raise InputError(f"{text!r}: write METHOD /PATH as the request")
    return words[0].upper(), words[1]


def _headers(text: str) -> Iterator[tuple[str, str]]:
    for part in _NEXT_HEADER.split(text.strip().rstrip(";")) if text.strip() else ():
        name, colon, value = part.partition(":")
        if not name.strip() or not colon:
            raise InputError(f"{part.strip()!r}: write NAME: VALUE as a header, and `;` before the next")
        yield name.strip().lower(), value.strip()


def _claims(text: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise InputError(f"{part!r}: write NAME=VALUE as a claim, and `;` before the next")
        yield name, value


def usual_caller(topology: Topology | None, service: str) -> str:
    """Who calls a service most; a gateway is called from outside, by its own name. Empty: nobody."""
    if topology is None:
        return ""
    if service in gateway_names(topology):
        return service
    calls = [edge for edge in topology.edges if edge.to == service and edge.from_ != service]
    busiest = max(calls, key=lambda edge: (edge.rps, edge.from_), default=None)
    return busiest.from_ if busiest else ""


def gateway_names(topology: Topology | None) -> frozenset[str]:
    """The gateways of the mesh."""
    nodes = topology.nodes if topology else ()
    return frozenset(node.name for node in nodes if node.role == "gateway")


def like_last_request(question: Question, requests: Iterable[Request]) -> Question:
    """The question about the newest request from its caller to its callee; unchanged if there is none.

    `requests` are those that the caller's proxies logged, newest first.
    """
    for request in requests:
        at_gateway = request.direction == "ingress"
        leads_there = question.callee in (request.callee, question.caller)
        if request.direction != "inbound" and leads_there and request.path.startswith("/"):
            host = request.host if at_gateway else question.host
            return replace(question, request=f"{request.method} {request.path}", host=host)
    return question
