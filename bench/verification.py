"""The cost of Envoy's verdict: a change of many distinct views, cold and warm, and the same change again.

`python -m bench.verification [--services 100] [--json FILE]`

Each service has a route to it, a Retry of its own for calls to the next one, and a rule who may call it, so
no two views are equal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from bench.snapshot import services
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.world import World
from meshwright.control_plane.verification.scratch_envoy import ScratchEnvoy
from meshwright.control_plane.verification.verifier import EnvoyVerdict, Verifier

BUDGET_SECONDS = 600.0
"""The control plane's own budget is 10 s; a benchmark says how long it takes."""


def documents(count: int, attempts: int) -> list[dict[str, Any]]:
    """Three policies for each of `count` services; other `attempts` change every view."""
    return [body for number in range(count) for body in _policies(number, (number + 1) % count, attempts)]


def _policies(number: int, called: int, attempts: int) -> list[dict[str, Any]]:
    target = [{"kind": "Service", "name": f"s{number}"}]
    parents = [{"kind": "Service", "group": "", "name": f"s{number}"}]
    match = {"path": {"type": "PathPrefix", "value": f"/p{number}"}}
    rules = [{"matches": [match], "backendRefs": [{"name": f"s{called}", "port": 80}]}]
    next_one = [{"kind": "Service", "name": f"s{called}"}]
    allowed = [{"name": "own", "to": [{"paths": [{"value": f"/p{number}/{attempts}"}]}]}]
    kinds = {
        "HTTPRoute": {"parentRefs": parents, "rules": rules},
        "Retry": {"targetRefs": next_one, "from": [f"s{number}"], "attempts": attempts},
        "Authorization": {"targetRefs": target, "rules": allowed},
    }
    return [
        {
            "apiVersion": "gateway.networking.k8s.io/v1" if kind == "HTTPRoute" else "meshwright.io/v1",
            "kind": kind,
            "metadata": {"name": f"s{number}"},
            "spec": spec,
        }
        for kind, spec in kinds.items()
    ]


async def measure(count: int) -> dict[str, float]:
    """Seconds of each verdict."""
    served = translate(World(1, services(count, 1)))
    with tempfile.TemporaryDirectory() as folder:
        verifier = Verifier(lambda: served, ScratchEnvoy(Path(folder)), lambda _: None, BUDGET_SECONDS)
        try:
            return {
                "cold_s": await _timed(lambda: verifier.verify((), documents(count, 1))),
                "warm_s": await _timed(lambda: verifier.verify(documents(count, 1), documents(count, 2))),
                "again_s": await _timed(lambda: verifier.verify(documents(count, 1), documents(count, 2))),
                "one_s": await _timed(
                    lambda: verifier.verify(
                        documents(count, 2), [*documents(count, 2)[3:], *_policies(0, 1, 4)]
                    )
                ),
            }
        finally:
            await verifier.stop()


async def _timed(verify: Callable[[], Awaitable[EnvoyVerdict]]) -> float:
    start = time.perf_counter()
    verdict = await verify()
    if verdict.objections or verdict.unverified:
        raise SystemExit(f"the change was not accepted: {verdict}")
    return round(time.perf_counter() - start, 3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.verification", description=__doc__)
    parser.add_argument("--services", type=int, default=100, help="services, each with a view of its own")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    figures = asyncio.run(measure(options.services))
    print(f"{options.services} distinct views, all changed")
    for name, text in {
        "cold_s": "first verdict, with the start of Envoy",
        "warm_s": "another change of every view",
        "again_s": "the same change again",
        "one_s": "a change of one view",
    }.items():
        print(f"{text:40} {figures[name]:8.3f} s")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
