"""`mesh explain` and real Envoys agree: route, cluster, verdicts, changes of headers, host and path.

Each random world is a route of its own, at the gateway by its host name and in the mesh by a header. All are
applied at once, so that a request is all that a world costs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import pytest
import requests

from meshwright.control_plane.api.models.authorization import AccessPolicy
from meshwright.control_plane.api.models.call_explanation import ExplainedHop, ExplainedRoute
from meshwright.control_plane.core.assemble import parse_policy
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.explain.call import hops
from meshwright.control_plane.explain.outcome import outcome
from meshwright.control_plane.status.call_explanation import beginning
from tests.control_plane.core.worlds import documents as policy_documents
from tests.control_plane.core.worlds import instance, service, subset, world
from tests.envoy.harness import Mesh
from tests.envoy.routes import random_calls
from tests.envoy.routes.documents import SERVICE, filtered, route
from tests.envoy.routes.random_calls import Document, RandomWorld

Hops = tuple[ExplainedHop, ...]

AUTHORIZATION = {
    "apiVersion": "meshwright.io/v1",
    "kind": "Authorization",
    "metadata": {"name": "probed"},
}
INSTANCES = {"back/v1": {"back-1"}, "back/v2": {"back-2"}, "back": {"back-1", "back-2"}}


def explained(made: Sequence[RandomWorld], documents: Sequence[Document], port: int) -> Iterator[Hops]:
    """What becomes of the request of each world, by the configuration of all of them; `port`: the gateway's.

    The control plane would answer the same, but it reads all documents for each question.
    """
    parsed = tuple(PolicyDocument(parse_policy(json.dumps(document)), 0) for document in documents)
    back = service("back", instance("back-1", 1, version="v1"), instance("back-2", 2, version="v2"))
    subsets = policy_documents(subset("v1", "back", "v1") + subset("v2", "back", "v2"))
    mesh = world(service("front"), back, policy_documents=(*parsed, *subsets))
    translation = translate(replace(mesh, gateways=("ingress",)))
    bindings = Bindings(outbound=1, inbound=1, gateway=(("http", port),))
    nodes = cache(lambda identity: translation.snapshot.node(identity, bindings))
    for item in made:
        yield tuple(hops(nodes, *beginning(translation, item.query), lambda ref: AccessPolicy(name=ref)))


def sent(mesh: Mesh, made: Sequence[RandomWorld]) -> list[requests.Response]:
    """The response to the request of each world."""
    caller, outside = mesh.caller("front-1"), requests.Session()
    outside.trust_env = False
    responses = []
    for entry in made:
        query = entry.query
        headers = dict(query.headers) | ({"authorization": f"Bearer {entry.token}"} if entry.token else {})
        session, place = caller, "http://back"
        if query.gateway:
            session, place = outside, f"http://127.0.0.1:{mesh.ingress_port}"
            headers["host"] = query.host
        url = f"{place}{query.path}"
        responses.append(
            session.request(query.method, url, headers=headers, allow_redirects=False, timeout=60)
        )
    return responses


def ends(all_hops: Hops) -> list[tuple[ExplainedRoute, ExplainedRoute]]:
    """The routes at which the request may end, each with the first proxy's route that leads there."""
    first, *others = all_hops
    pairs = []
    for number, end in enumerate(first.routes):
        onward = [last for hop in others if number in hop.of_routes for last in hop.routes]
        pairs += [(end, last) for last in onward] or [(end, end)]
    return pairs


def happened(first: ExplainedRoute, last: ExplainedRoute, response: requests.Response) -> bool:
    """Whether the response is the one that is explained for these routes."""
    if last.status or response.status_code != 200:
        location = response.headers.get("location", "")
        return (last.status, last.location) == (response.status_code, location)
    echo: dict[str, Any] = response.json()
    names = random_calls.NAMES
    headers = {name.lower(): value for name, value in last.headers if name.lower() in names}
    received = {name: value for name, value in echo["headers"].items() if name in names}
    path, _, query = last.path.partition("?")
    return (
        echo["name"] in INSTANCES[first.cluster]
        and (echo["path"], echo["query"], echo["headers"]["host"]) == (path, query, last.host)
        and headers == received
    )


def compare(mesh: Mesh, apply: Any, seed: int, count: int) -> None:
    """A third of the worlds is in the mesh, the others are at the gateway."""
    random = Random(seed)  # noqa: S311  a repeatable choice
    made = [
        (random_calls.at_sidecar if number % 3 == 0 else random_calls.at_ingress)(random, number)
        for number in range(count)
    ]
    documents = [*random_calls.at_the_callee(), *(item for entry in made for item in entry.documents)]
    apply(documents)
    outcomes: Counter[str] = Counter()
    answers = zip(made, sent(mesh, made), explained(made, documents, mesh.ingress_port), strict=True)
    for entry, response, passed in answers:
        assert any(happened(first, last, response) for first, last in ends(passed)), (
            seed, entry, response.status_code, response.headers, response.text, passed,
        )  # fmt: skip
        outcomes[outcome(passed)[0]] += 1
    assert min(outcomes[word] for word in ("forwarded", "refused", "answered")) > count / 20, outcomes


def test_explanation_and_envoy_agree(mesh: Mesh, applied_documents: Any) -> None:
    compare(mesh, applied_documents, seed=1, count=500)


def test_probed_sidecars_do_what_is_explained(mesh: Mesh, applied: Any) -> None:
    rewrite = (
        "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /inside}}}"
    )
    access = {"rules": [{"to": [{"methods": ["GET"], "paths": [{"value": "/inside"}]}]}]}
    applied(
        route("outside", SERVICE, filtered("/outside", rewrite))
        + "---\n"
        + json.dumps(
            AUTHORIZATION | {"spec": {"targetRefs": [{"kind": "Service", "name": "back"}], **access}}
        )
    )
    call = ("explain", "--from", "front", "--to", "back", "--probe")
    allowed = mesh.run(*call, "GET", "/outside/7").stdout
    assert allowed.startswith("● forwarded to back\n")
    assert "path: /outside/7 → /inside/7" in allowed
    assert allowed.endswith("asked by front-1\n  ● back-1 says allowed\n  ● back-2 says allowed\n")
    refused = mesh.run(*call, "POST", "/outside/7").stdout
    assert refused.startswith(
        "× refused by the proxy of back with 403: authorization: no allow rule matches\n"
    )
    assert "by Authorization/probed (revision " in refused
    assert refused.endswith("  ● back-2 says denied: no allow rule matches\n")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 110))
def test_explanation_and_envoy_agree_at_length(mesh: Mesh, applied_documents: Any, seed: int) -> None:
    compare(mesh, applied_documents, seed, count=500)
