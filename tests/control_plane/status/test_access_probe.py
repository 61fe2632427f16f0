"""What a probe asks of the sidecars of a called service, and what their answers mean."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.models.authorization import AccessQuery, ProbeAnswer, ProbeRequest
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.errors import CommandTimeoutError, InputError, MeshError, NotFoundError
from meshwright.control_plane.status.access_probe import ProbePlan, plan, verdict
from tests.control_plane.core.worlds import exchange

PROXIES = [
    ProxyStatus(name=name, service="orders", state=state, revision=1, error="")
    for name, state in (("orders-1", "pending"), ("orders-2", "synced"), ("orders-3", "disconnected"))
]


def planned(proxies: list[ProxyStatus] = PROXIES, **query: Any) -> ProbePlan:
    fields = {"caller": "orders", "service": "inventory", **query}
    return plan(translate(exchange()), AccessQuery(**fields), proxies)


def test_a_synced_proxy_of_the_caller_asks_each_instance() -> None:
    probe = planned(method="POST", path="/reservations", headers=(("x-a", "1"),))
    assert (probe.proxy, probe.caller) == ("orders-2", "orders")
    requests = {name: ProbeRequest.model_validate_json(argument) for name, argument in probe.arguments}
    assert set(requests) == {instance.name for instance in exchange().services["inventory"].instances}
    assert len({request.address for request in requests.values()}) == len(requests)
    request = requests["inventory-1"]
    assert (request.cluster, request.host, request.method) == ("inventory", "inventory", "POST")
    assert request.headers == (("x-a", "1"),)


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ({"caller": ""}, InputError, "add --from"),
        ({"caller": "nobody"}, NotFoundError, "nobody: the mesh has no such"),
        ({"caller": "catalog"}, CommandTimeoutError, "catalog has no connected proxy"),
        ({"method": "CONNECT"}, InputError, "method 'CONNECT'"),
        ({"method": "GET\r\n"}, InputError, "method"),
        ({"path": "/a b"}, InputError, "path '/a b'"),
        ({"path": "x"}, InputError, "path 'x'"),
        ({"host": "a\r\nb"}, InputError, "host"),
        ({"headers": (("x-a", "1\r\nx: y"),)}, InputError, "header 'x-a'"),
        ({"headers": (("Transfer-Encoding", "chunked"),)}, InputError, "belongs to a connection"),
        ({"headers": tuple((f"x-{i}", "a" * 8000) for i in range(3))}, InputError, "too long"),
    ],
)
def test_what_cannot_be_sent_is_refused(query: dict[str, Any], error: type[MeshError], message: str) -> None:
    with pytest.raises(error, match=message):
        planned(**query)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ProbeAnswer(status=204, allowed=True), ("allowed", "", "")),
        (
            ProbeAnswer(
                status=403,
                allowed=False,
                text="RBAC: access denied (rbac_access_denied_matched_policy[Authorization/a/b])",
            ),
            ("denied", "Authorization/a/b", ""),
        ),
        (
            ProbeAnswer(status=401, allowed=False, text="Jwt is missing"),
            ("unknown", "", "401 Jwt is missing"),
        ),
        (ProbeAnswer(status=204, allowed=False), ("unknown", "", "204")),
    ],
)
def test_an_answer_is_a_verdict_only_if_the_rules_gave_it(
    answer: ProbeAnswer, expected: tuple[str, str, str]
) -> None:
    outcome = verdict("inventory-1", answer.model_dump_json())
    assert (outcome.verdict, outcome.rule, outcome.answer) == expected


def test_an_agent_of_another_version_gives_no_verdict() -> None:
    assert verdict("inventory-1", "{}").verdict == "unknown"
