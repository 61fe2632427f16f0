"""What is typed into the explain screen, as a question to the API."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.requests import Request
from meshwright.control_plane.errors import InputError
from meshwright.tui.features.explain.question import Question, like_last_request, usual_caller
from tests.fakes.scenarios import exchange


def test_fields_become_a_query() -> None:
    question = Question("storefront", "orders", "/a?b=1", headers="X-User: a; cookie: a=b; c=d", claims="r=x")
    query = question.query({"ingress"})
    assert (query.caller, query.service, query.gateway) == ("storefront", "orders", "")
    assert (query.method, query.path) == ("GET", "/a?b=1")
    assert query.headers == (("x-user", "a"), ("cookie", "a=b; c=d"))
    assert query.claims == {"r": "x"}


def test_the_routes_of_a_gateway_say_what_is_called() -> None:
    query = Question("ingress", "orders", "post /a", host="x.org").query({"ingress"})
    assert (query.caller, query.service, query.gateway, query.host) == ("", "", "ingress", "x.org")
    assert query.method == "POST"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"request": "GET"}, "write METHOD /PATH"),
        ({"request": "GET orders"}, "write METHOD /PATH"),
        ({"headers": "x-user"}, "write NAME: VALUE"),
        ({"claims": "role"}, "write NAME=VALUE"),
        ({"request": f"GET /{'a' * 2048}"}, "path"),
    ],
)
def test_mistakes_are_one_line(fields: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Question(**{"caller": "a", "callee": "b", **fields}).query(())
    assert "\n" not in str(caught.value)


def test_who_calls_a_service_most() -> None:
    topology = exchange().topology
    assert usual_caller(topology, "catalog") == "orders"
    assert usual_caller(topology, "ingress") == "ingress"
    assert usual_caller(topology, "warehouse") == usual_caller(None, "orders") == ""


def test_the_question_starts_as_the_newest_request_to_the_callee() -> None:
    def request(direction: str, callee: str, path: str) -> Request:
        fields = {"method": "PUT", "host": "x.org", "path": path, "direction": direction, "callee": callee}
        return Request.model_validate({"time": 1.0, "service": "storefront", **fields})

    requests = [request("outbound", "users", "/u"), request("inbound", "orders", "/in")]
    question = Question("storefront", "orders")
    assert like_last_request(question, requests) == question
    requests.append(request("outbound", "orders", "/o"))
    assert like_last_request(question, requests) == Question("storefront", "orders", "PUT /o")
    at_gateway = Question("ingress", "ingress")
    requests = [request("ingress", "users", "/u")]
    assert like_last_request(at_gateway, requests) == Question("ingress", "ingress", "PUT /u", "x.org")
