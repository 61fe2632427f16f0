"""The limits of descriptors: who may count for them, and the answers to proxies."""

from __future__ import annotations

from typing import Literal

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.limits.table import GlobalLimit, LimitTable, answer
from meshwright.control_plane.policies.ratelimit.route_metadata import AUDIT_HEADER
from meshwright.control_plane.store.limit_counters import Grant
from tests.control_plane.core.worlds import exchange, mesh

SPEC = "scope: global, limits: [{requests: 50, per: 1s, burst: 70, by: [{type: Path}]}]"
INVENTORY = "{kind: Service, name: inventory}"
PASSED, REFUSED = Grant(1, 3, 500, 0), Grant(0, 0, 1400, 1200)


def identity(name: str = "inventory", role: Literal["service", "gateway"] = "service") -> Identity:
    return Identity("mesh.local", role, name)


def descriptor(id: str, *values: str) -> v3.RateLimitDescriptor:
    message = v3.RateLimitDescriptor()
    for key, value in (("limit", id), *(("Path", value) for value in values)):
        message.entries.add(key=key, value=value)
    return message


def table(*targets: str, spec: str = SPEC) -> LimitTable:
    targets = targets or (INVENTORY,)
    text = "".join(mesh("RateLimit", f"shop{n}", spec, target) for n, target in enumerate(targets))
    return LimitTable(exchange(text).documents)


def limit(spec: str = SPEC) -> GlobalLimit:
    entry = table(spec=spec).find(descriptor("shop0/0", "/a"), identity())
    assert entry is not None
    return entry[0]


def test_equal_values_have_one_bucket_and_no_value_is_stored() -> None:
    limits = table()
    buckets = [limits.find(descriptor("shop0/0", path), identity()) for path in ("/a", "/a", "/secret")]
    first, second, third = (entry[1] for entry in buckets if entry)
    assert first == second != third
    assert (first.size, first.interval_ms) == (70, 20.0)
    assert "secret" not in third.key


def test_values_cannot_be_moved_between_keys() -> None:
    limits = table()
    first = limits.find(descriptor("shop0/0", "a", "bc"), identity())
    second = limits.find(descriptor("shop0/0", "ab", "c"), identity())
    assert first and second and first[1] != second[1]


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("{kind: Mesh}", {"inventory", "orders"}),
        (INVENTORY, {"inventory"}),
        ("{kind: Gateway, name: ingress}", {"gateway/ingress"}),
        ("{kind: HTTPRoute, name: shop}", {"gateway/ingress", "gateway/other"}),
    ],
)
def test_a_proxy_counts_only_for_limits_that_it_enforces(target: str, allowed: set[str]) -> None:
    limits = table(target)
    callers = {name: identity(name) for name in ("inventory", "orders")}
    callers |= {f"gateway/{name}": identity(name, "gateway") for name in ("ingress", "other")}
    counted = {name for name, who in callers.items() if limits.find(descriptor("shop0/0", "/"), who)}
    assert counted == allowed


@pytest.mark.parametrize("id", ["shop0/1", "other/0", "", "shop0"])
def test_unknown_limits_have_no_bucket(id: str) -> None:
    assert table().find(descriptor(id), identity()) is None
    assert table().find(v3.RateLimitDescriptor(), identity()) is None


def test_local_limits_are_not_counted_here() -> None:
    limits = table(spec="limits: [{requests: 50, per: 1s}]")
    assert limits.find(descriptor("shop0/0"), identity()) is None


def test_the_strictest_limit_refuses_and_says_when_to_try_again() -> None:
    response = codec.to_dict(answer([(limit(), PASSED), None, (limit(), REFUSED)]))
    assert response["overall_code"] == "OVER_LIMIT"
    assert [status["code"] for status in response["statuses"]] == ["OK", "OK", "OVER_LIMIT"]
    assert response["statuses"][0]["limit_remaining"] == 3
    assert response["response_headers_to_add"] == [{"key": "retry-after", "value": "2"}]
    assert answer([(limit(), REFUSED)]).raw_body == b"refused by RateLimit/shop0, 50 in 1s"


def test_audit_passes_and_marks_the_request() -> None:
    response = codec.to_dict(answer([(limit(f"enforcement: audit, {SPEC}"), REFUSED)]))
    assert response["overall_code"] == "OK"
    assert response["request_headers_to_add"] == [{"key": AUDIT_HEADER, "value": "RateLimit/shop0"}]


def test_of_two_revisions_the_last_one_says_how_much_passes() -> None:
    """A proxy does not say which of the two it has: what is in force counts until the push has ended."""
    on_trial = exchange(
        mesh("RateLimit", "shop0", SPEC.replace("burst: 70", "burst: 90"), INVENTORY)
        + mesh("RateLimit", "new", SPEC, INVENTORY)
    )
    in_force = exchange(mesh("RateLimit", "shop0", SPEC, INVENTORY))
    limits = LimitTable((*on_trial.documents, *in_force.documents))
    entries = [limits.find(descriptor(id, "/a"), identity()) for id in ("shop0/0", "new/0")]
    assert [entry[1].size for entry in entries if entry] == [70, 70]
    assert entries[1], "a limit that only the revision on trial has counts for the proxies that ask for it"
