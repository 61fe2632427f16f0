"""The demo's traffic: its sequence of requests, its counters, its options."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.cli.traffic.counters import GROWTH, LatencyHistogram, TrafficCounters
from meshwright.cli.traffic.journeys import (
    DECLINED,
    NEWCOMERS,
    REGULARS,
    SLOW,
    STEPS,
    STOCK,
    SYMBOLS,
    journeys,
)
from meshwright.cli.traffic.options import traffic_plan
from meshwright.cli.traffic.plan import TrafficFault, TrafficPlan, parse_fault
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.loader import load
from meshwright.control_plane.policies.registry import kinds
from meshwright.services.catalog import domain as catalog
from meshwright.services.inventory import domain as inventory
from meshwright.services.trading import domain as trading
from tests.cli.conftest import RunMesh

ROOT = Path(__file__).parents[2]
SERVICES = frozenset({"inventory", "orders"})


def test_a_seed_determines_the_journeys_in_any_process() -> None:
    program = (
        "from itertools import islice; from meshwright.cli.traffic.journeys import journeys; "
        "print(list(islice(journeys(5), 100)))"
    )
    command = [sys.executable, "-c", program]
    outputs = {subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout for _ in range(2)}
    expected = list(islice(journeys(5), 100))
    assert outputs == {f"{expected}\n".encode()}
    assert expected != list(islice(journeys(6), 100))


def test_journeys_use_products_and_symbols_of_the_demo() -> None:
    sample = list(islice(journeys(1), 2000))
    requests = [request for journey in sample for request in journey.requests]
    routes = Counter(request.route for request in requests)
    assert len(routes) == len(STEPS) + 2, "declined and slow orders are routes of their own"
    posts = [request for request in requests if request.method == "POST"]
    assert len({request.headers["Idempotency-Key"] for request in posts}) == len(posts)
    orders = sum(request.path == "/api/orders" for request in posts)
    for kind, share in (("declined", DECLINED), ("slow", SLOW)):
        assert 0.5 < routes[f"POST /api/orders ({kind})"] / orders / share < 2
    assert set(STOCK) == {product.id for product in catalog.seed_products(0)}
    assert STOCK == inventory.SEED_STOCK
    assert set(SYMBOLS) == set(trading.MARKETS)


def test_people_sign_up_in_order_and_come_back_for_a_while() -> None:
    sample = list(islice(journeys(1), 2000))
    newest = -1
    for journey in sample:
        assert newest - REGULARS < journey.person <= newest + 1
        newest = max(newest, journey.person)
    assert 0.8 < newest / len(sample) / NEWCOMERS < 1.2
    assert sample[0].person == 0


def test_a_fault_makes_a_valid_policy() -> None:
    for kind in ("slow", "fail"):
        fault = parse_fault(f"inventory:{kind}:2.5", SERVICES)
        assert (fault.service, fault.kind, fault.seconds, str(fault)) == (
            ("inventory", kind, 2.5, f"inventory:{kind}:2.5")
        )

        loaded = load(json.dumps(fault.document()).encode(), "fault", kinds())
        assert loaded.problems == ()
    assert parse_fault("orders:fail", SERVICES) == TrafficFault("orders", "fail", 10.0)
    assert parse_fault("orders:slow:1m30s", SERVICES) == TrafficFault("orders", "slow", 90.0)


@pytest.mark.parametrize(
    "text", ["", "orders", "nobody:fail", "orders:broken", "orders:fail:", "orders:fail:0", "orders:fail:nan",
             "orders:fail:-1", "orders:fail:inf", "orders:fail:1:2", "orders:fail:9999"],
)  # fmt: skip
def test_an_invalid_fault_is_rejected(text: str) -> None:
    with pytest.raises(InputError, match=r"^--fault "):
        parse_fault(text, SERVICES)


def plan(traffic: int | None = 20, **options: object) -> TrafficPlan | None:
    arguments = {"seed": None, "seconds": None, "fault": "", "detach": False, **options}
    return traffic_plan(traffic, services=SERVICES, **arguments)  # type: ignore[arg-type]


def test_conflicting_options_are_rejected() -> None:
    assert plan(None) is None
    drawn = [plan() for _ in range(8)]
    assert {chosen.rate for chosen in drawn if chosen} == {20}
    assert len({chosen.seed for chosen in drawn if chosen}) > 1, "another seed each time"
    slow = plan(seed=0, seconds=8.0, fault="orders:slow:1")
    assert slow == TrafficPlan(20, 0, 8.0, TrafficFault("orders", "slow", 1.0))
    assert (slow.fault_delay, TrafficPlan(1, 1).fault_delay) == (2.0, 5.0)
    for unused in ({"seed": 0}, {"seconds": 1.0}, {"fault": "orders:fail"}):
        with pytest.raises(InputError, match="has no effect without --traffic"):
            plan(None, **unused)
    with pytest.raises(InputError, match="foreground"):
        plan(detach=True)


@pytest.mark.parametrize("more", [(), ("--traffic", "1"), ("--story",)])
async def test_the_demo_runs_replicas_of_its_own_services_only(run: RunMesh, more: tuple[str, ...]) -> None:
    result = await run("demo", "--scale", "orders=2", "--scale", "nobody=3", *more)
    assert result.code != 0
    assert "nobody: no such service: the application has analytics, broker" in result.err


@given(st.lists(st.floats(0.1, 10**5), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_exact_to_one_bucket(values: list[float], share: float) -> None:
    latencies = LatencyHistogram()
    for value in values:
        latencies.add(value)
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    assert exact * 0.999 <= latencies.quantile(share) <= exact * GROWTH * 1.001
    assert latencies.max_ms == max(values)


def test_empty_counters_report_zeros() -> None:
    assert TrafficCounters().report(0)["latency_ms"] == {"p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}


def test_requests_that_may_have_met_the_fault_count_in_its_phase() -> None:
    counters = TrafficCounters()
    counters.fault_start, counters.fault_end = 10.0, 20.0
    counters.add("GET /", "200", True, 4.8, 9.9)
    counters.add("GET /", "503", False, 9.9, 10.1)
    counters.add("GET /", "timeout", False, 19.9, 39.9)
    counters.add("POST /", "201", True, 20.0, 20.1)
    counters.journeys.add(True, 10.0)
    counters.journeys.add(False, 20.0)
    report = counters.report(6, "inventory:fail:10")
    assert (report["sent"], report["errors"]) == (4, 2)
    counted = report["journeys"]
    assert [counted[name] for name in ("planned", "started", "unstarted", "failed")] == [6, 2, 4, 1]
    assert counted["latency_ms"]["max"] == 20
    assert report["outcomes"] == {"200": 1, "201": 1, "503": 1, "timeout": 1}
    phases = {name: (report["fault"][name]["sent"], report["fault"][name]["errors"]) for name in
              ("before", "during", "after")}  # fmt: skip
    assert phases == {"before": (1, 0), "during": (2, 2), "after": (1, 0)}
    assert report["fault"]["before"]["latency_ms"]["max"] == 5100.0
    assert counters.take_recent().sent == 4
    assert counters.take_recent().sent == 0
