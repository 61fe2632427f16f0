"""Who holds the store's password cannot end the control plane: bad values are skipped, shown, repairable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from meshwright.control_plane.store import embedded
from tests.control_plane.attacks.attacker import Attacker
from tests.control_plane.attacks.conftest import Api, state, until
from tests.scale.plane import ControlPlaneProcess

Change = Callable[[redis.Redis], Any]


@pytest.fixture(scope="module")
def client(plane: ControlPlaneProcess, admin: Api) -> Iterator[redis.Redis]:
    """The store of a mesh with one service and two revisions."""
    with Attacker(plane, "orders") as orders:
        orders.register("orders-1")
    for attempts in (1, 2):
        document = {
            "apiVersion": "meshwright.io/v1",
            "kind": "Retry",
            "metadata": {"name": "orders"},
            "spec": {"targetRefs": [{"kind": "Service", "name": "orders"}], "attempts": attempts},
        }
        assert admin.request("POST", "/apply", {"documents": [{"document": document}]}).status_code == 200
    until(lambda: admin.get("/status")["revision"] == 2, "the second revision is served")
    located = embedded.locate(state(plane))
    client = redis.Redis.from_url(located.url, password=located.password(), decode_responses=True)
    yield client
    client.close()


def announce(client: redis.Redis) -> None:
    """Tell the control plane that something changed."""
    client.xadd("mesh:changes", {"kind": "revision"})


DAMAGES: list[tuple[str, Change, Change]] = [
    (
        "a registration",
        lambda client: client.hset("mesh:registrations", "zz/zz", "not json"),
        lambda client: client.hdel("mesh:registrations", "zz/zz"),
    ),
    (
        "ports",
        lambda client: client.hset("mesh:services", "zz", '[{"name":1'),
        lambda client: client.hdel("mesh:services", "zz"),
    ),
    (
        "the next revision",
        lambda client: (
            client.hset(
                "mesh:revision:3",
                mapping={**dict[Any, Any](client.hgetall("mesh:revision:2")), "documents": "no"},
            ),
            client.set("mesh:revision", "3"),
        ),
        lambda client: (client.delete("mesh:revision:3"), client.set("mesh:revision", "2")),
    ),
    (
        "no number",
        lambda client: client.set("mesh:revision", "abc"),
        lambda client: client.set("mesh:revision", "2"),
    ),
    (
        "a far number",
        lambda client: client.set("mesh:revision", "999999"),
        lambda client: client.set("mesh:revision", "2"),
    ),
]


@pytest.mark.parametrize(("_name", "damage", "repair"), DAMAGES, ids=[damage[0] for damage in DAMAGES])
def test_a_bad_value_is_shown_and_changes_nothing_else(
    plane: ControlPlaneProcess, admin: Api, client: redis.Redis, _name: str, damage: Change, repair: Change
) -> None:
    damage(client)
    announce(client)
    status = until(lambda: (s := admin.get("/status"))["store"] == "degraded" and s, "the status shows it")
    assert status["problems"]
    assert status["revision"] == 2
    assert [item["name"] for item in status["services"]] == ["orders"]
    assert plane.process.poll() is None
    repair(client)
    until(lambda: (s := admin.get("/status"))["store"] == "ok" and not s["problems"], "it has healed")
    assert plane.process.poll() is None
    assert "Traceback" not in plane.log.read_text()
