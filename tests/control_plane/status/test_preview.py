"""What a change of policies would do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from meshwright.control_plane.status import preview
from tests.control_plane.core.worlds import documents, exchange, mesh, route

TIMEOUT = mesh("Timeout", "t", "from: [orders], request: 3s", "{kind: Service, name: catalog}")


CATALOG = "{kind: Service, name: catalog}"


def bodies(text: str) -> list[dict[str, Any]]:
    return [
        json.loads(document.policy.model_dump_json(by_alias=True, exclude_unset=True))
        for document in documents(text)
    ]


def test_resource_diff_labels_each_resource_with_its_caller() -> None:
    diff = preview.plan(exchange(), [], bodies(TIMEOUT), ()).resource_diff
    assert "+++ b/VirtualHost/out/catalog (for orders)" in diff
    assert "+    timeout: 3s" in diff
    assert "orders:grpc" not in diff
    assert preview.plan(exchange(), bodies(TIMEOUT), bodies(TIMEOUT), ()) == preview.ChangePlan()


def test_unresolved_names_what_would_not_be_accepted_or_resolve_among_all_documents() -> None:
    change = bodies(
        route("r", "{backendRefs: [{name: nobody}]}")
        + mesh("Timeout", "t", "request: 1s", "{kind: HTTPRoute, name: rr}")
        + mesh("Retry", "good", "attempts: 2", "{kind: Service, name: catalog}")
    )
    assert [ref for ref, _ in preview.unresolved(exchange(), change, (), 0)] == ["HTTPRoute/r", "Timeout/t"]
    (backend, target) = (message for _, message in preview.unresolved(exchange(), change, (), 0))
    assert backend.startswith("spec.rules[0].backendRefs[0].name: there is no")
    assert target.startswith("spec.targetRefs[0].name: there is no HTTPRoute rr yet (did you mean r?)")
    (timeout,) = bodies(mesh("Timeout", "t", "request: 1s", "{kind: HTTPRoute, name: r}"))
    others = bodies(route("r", "{backendRefs: [{name: catalog}]}"))
    assert not preview.unresolved(exchange(), [timeout], others, 1)


def test_urls_with_plain_http_to_the_outside_are_named_with_their_field() -> None:
    change = bodies(
        mesh("ExternalAuthorization", "in", "http: {url: 'http://orders.internal/a'}", CATALOG)
        + mesh("ExternalAuthorization", "out", "http: {url: 'http://authz.example.com/a'}", CATALOG)
        + mesh("Retry", "r", "attempts: 2")
    )
    domains = replace(exchange(), domains=("mesh", "internal"))
    ((ref, message),) = preview.misplaced_urls(domains, change)
    assert ref == "ExternalAuthorization/out"
    assert message.startswith("spec.http.url: authz.example.com is outside the mesh and needs https://")
    refused = [ref for ref, _ in preview.misplaced_urls(exchange(), change)]
    assert refused == ["ExternalAuthorization/in", "ExternalAuthorization/out"]


def test_warnings_documents_of_one_change_resolve_each_other() -> None:
    change = bodies(
        route("r", "{backendRefs: [{name: nobody}]}")
        + mesh("Timeout", "t", "request: 1s", "{kind: HTTPRoute, name: r}")
    )
    (warning,) = preview.preview_warnings(exchange(), change)
    assert warning.startswith("HTTPRoute/r: spec.rules[0].backendRefs[0].name: there is no")
