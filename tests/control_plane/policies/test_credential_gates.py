"""BasicAuthentication and APIKeyAuthentication: validation, several policies at one place, and secrets."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.cli.documents import read_documents
from meshwright.control_plane.core.resource import RDS
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import codec
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.apikeyauthentication.spec import APIKeyAuthenticationSpec
from meshwright.control_plane.policies.basicauthentication.envoy import NOBODY
from meshwright.control_plane.policies.basicauthentication.spec import BasicAuthenticationSpec
from meshwright.control_plane.policies.registry import example
from meshwright.control_plane.policies.secret_source import (
    CHANGED,
    REDACTED,
    redacted,
    redacted_change,
    with_stored_secrets,
)
from meshwright.control_plane.status import preview
from tests.control_plane.core.worlds import body, exchange, mesh

TARGET = {"targetRefs": [{"kind": "Service", "name": "inventory"}]}
KEY, OTHER_KEY = "0123456789abcdef", "fedcba9876543210"
INVENTORY = "{kind: Service, name: inventory}"


def user(name: str, password: str) -> str:
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return f"{name}:{{SHA}}{base64.b64encode(digest).decode()}"


def basic(users: str = user("ann", "secret"), **changes: Any) -> BasicAuthenticationSpec:
    return BasicAuthenticationSpec.model_validate({**TARGET, "users": {"inline": users}, **changes})


def keys(text: str = f"shop:{KEY}", **changes: Any) -> APIKeyAuthenticationSpec:
    return APIKeyAuthenticationSpec.model_validate({**TARGET, "keys": {"inline": text}, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": "ann:secret"}, "user 1 is not NAME:{SHA}HASH"),
        ({"users": "ann:$apr1$x$y"}, "htpasswd -s"),
        ({"users": f"{user('ann', 'a')}\n{user('ann', 'b')}"}, "occurs twice"),
        ({"users": "# nobody"}, "0 users"),
        ({"users": REDACTED}, "give it again"),
        ({"realm": 'a"b'}, "pattern"),
        ({"forwardUsernameHeader": "x_user"}, "no underscores"),
        ({"forwardUsernameHeader": "Authorization"}, "meaning of its own"),
        ({"from": ["orders"]}, "leave it out"),
        ({"targetRefs": [{"kind": "Mesh"}]}, "not a valid target"),
    ],
)
def test_invalid_users_are_refused_with_advice(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        basic(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "shop"}, "key 1 is not CLIENT:KEY"),
        ({"text": "shop:short"}, "openssl rand -hex 16"),
        ({"text": f"shop:{KEY}\nbot:{KEY}"}, "a key occurs twice"),
        ({"extractFrom": [{"header": "x-key", "query": "key"}]}, "set one of header, query"),
        ({"extractFrom": [{"header": "x-key"}, {"header": "x-key"}]}, "occurs twice"),
        ({"extractFrom": [{"header": "cookie"}]}, "cannot carry a credential"),
        ({"extractFrom": [{"header": "x-id"}], "forwardClientIdHeader": "X-Id"}, "carries the key already"),
    ],
)
def test_invalid_keys_are_refused_with_advice(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        keys(**changes)


def test_apply_reads_the_file_beside_the_policy(tmp_path: Path) -> None:
    policy = example("BasicAuthentication")
    inline = policy[policy.index("    inline:") : policy.index("  realm:")]
    (tmp_path / "users").write_text(f"# people\n\n{user('ann', 'secret')}\n")
    file = tmp_path / "policy.yaml"
    file.write_text(policy.replace(inline, "    file: users\n"))
    (document,) = read_documents([str(file)]).documents
    assert list(document.policy.spec.users.hashes()) == ["ann"]
    (tmp_path / "users").unlink()
    with pytest.raises(InputError, match="users: no such file"):
        read_documents([str(file)])


def filters(*policies: str) -> dict[str, Any]:
    """The configuration of the filters at the inbound route of inventory."""
    resource = next(
        resource
        for node, resources in translate(exchange("".join(policies))).snapshot.node_resources()
        for resource in resources
        if node == "inventory" and resource.type_url == RDS
    )
    route: dict[str, Any] = codec.to_dict(body(resource))["virtual_hosts"][0]["routes"][-1]
    configured: dict[str, Any] = route["typed_per_filter_config"]
    return configured


def named(kind: str, name: str, field: str, text: str, more: str = "") -> str:
    return mesh(kind, name, f"{field}: {{inline: '{text}'}}{more}", INVENTORY)


def test_users_of_several_policies_pass_if_each_has_them_with_the_same_password() -> None:
    first = f"{user('ann', 'a')}\n\n{user('bob', 'b')}\n\n{user('eve', 'e')}"
    second = f"{user('ann', 'a')}\n\n{user('bob', 'other')}"
    policies = [named("BasicAuthentication", n, "users", text) for n, text in (("a", first), ("b", second))]
    users = filters(*policies)["envoy.filters.http.basic_auth"]["users"]
    assert users == {"inline_string": f"{user('ann', 'a')}\n"}
    nobody = named("BasicAuthentication", "c", "users", user("zoe", "z"))
    users = filters(*policies, nobody)["envoy.filters.http.basic_auth"]["users"]
    assert users == {"inline_string": NOBODY}


def test_keys_of_several_policies_pass_if_each_has_them_in_the_same_place() -> None:
    places = ", extractFrom: [{query: key}, {header: x-api-key}]"
    policies = [
        named("APIKeyAuthentication", "a", "keys", f"shop:{KEY}\n\nbot:{OTHER_KEY}", places),
        named("APIKeyAuthentication", "b", "keys", f"other:{KEY}"),
    ]
    config = filters(*policies)["envoy.filters.http.api_key_auth"]
    assert config["credentials"] == [{"key": KEY, "client": "shop"}]
    assert config["key_sources"] == [{"header": "x-api-key"}]


def test_all_kinds_of_authentication_are_required_where_they_are_in_force_together() -> None:
    together = filters(
        named("BasicAuthentication", "a", "users", user("ann", "a")),
        named("APIKeyAuthentication", "b", "keys", f"shop:{KEY}"),
        mesh("JWTAuthentication", "c", "issuers: [{issuer: x, jwks: {url: 'http://orders/k'}}]", INVENTORY),
    )
    assert {name.rpartition(".")[2] for name in together} == {"basic_auth", "api_key_auth", "jwt_authn"}


def document(text: str) -> dict[str, Any]:
    return {
        "kind": "APIKeyAuthentication",
        "metadata": {"name": "a"},
        "spec": {**TARGET, "keys": {"inline": text}},
    }


def test_secrets_are_shown_to_nobody_and_a_diff_says_only_that_they_differ() -> None:
    assert redacted(document("shop:1"))["spec"]["keys"] == {"inline": REDACTED}
    assert redacted({"kind": "Retry", "spec": {"keys": 1}})["spec"] == {"keys": 1}
    before, after = redacted_change([document("shop:1")], [document("shop:2")])
    assert (before[0]["spec"]["keys"]["inline"], after[0]["spec"]["keys"]["inline"]) == (REDACTED, CHANGED)
    before, after = redacted_change([document("shop:1")], [document("shop:1")])
    assert before == after


def test_a_redacted_document_keeps_the_secret_of_the_same_document_only() -> None:
    stored = {("APIKeyAuthentication", "a"): document(f"shop:{KEY}")}
    assert with_stored_secrets(document(REDACTED), stored) == document(f"shop:{KEY}")
    for other in (
        document(CHANGED),
        {**document(REDACTED), "metadata": {"name": "b"}},
        {**document(REDACTED), "kind": "BasicAuthentication"},
        {**document(REDACTED), "spec": []},
        {"kind": ["x"], "metadata": 1},
    ):
        assert with_stored_secrets(other, stored) is other


def test_a_file_may_hold_a_redacted_document(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    text = named("APIKeyAuthentication", "a", "keys", REDACTED)
    file.write_text(text)
    (loaded,) = read_documents([str(file)]).documents
    assert loaded.policy.spec.keys.inline == REDACTED
    file.write_text(text.replace(REDACTED, CHANGED))
    with pytest.raises(InputError, match="the secret is redacted"):
        read_documents([str(file)])


def test_no_diff_contains_a_secret() -> None:
    world = exchange()
    policy = {**document(f"shop:{KEY}"), "apiVersion": "meshwright.io/v1"}
    plan = preview.plan(world, [], [policy], ())
    documents, resources = plan.document_diff, plan.resource_diff
    assert "APIKeyAuthentication" in documents and "api_key_auth" in resources
    other = preview.plan(world, [policy], [{**policy, **document(f"shop:{OTHER_KEY}")}], ())
    changed, (field,) = other.document_diff, other.fields["APIKeyAuthentication", policy["metadata"]["name"]]
    assert CHANGED in changed and field.after == CHANGED
    for text in (documents, resources, changed, str(field)):
        assert KEY not in text and OTHER_KEY not in text
