"""Passwords and API keys under traffic: at a gateway and at a service's sidecar, alone and together."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.control_plane.policies.test_credential_gates import user
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import api, find_event

KEY = "0123456789abcdef0123"
PASSWORD = "correct horse"
APP_SECRET = "battery-staple-4711"

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: back}]}]
---
"""

GATES = f"""
apiVersion: meshwright.io/v1
kind: BasicAuthentication
metadata: {{name: operators}}
spec:
  targetRefs: [{{kind: Gateway, name: ingress}}]
  users: {{inline: "{user("ann", PASSWORD)}"}}
  realm: Shop
  forwardUsernameHeader: x-user
---
apiVersion: meshwright.io/v1
kind: APIKeyAuthentication
metadata: {{name: partners}}
spec:
  targetRefs: [{{kind: Service, name: back}}]
  keys: {{file: keys.txt}}
  extractFrom: [{{header: x-api-key}}, {{query: api_key}}, {{cookie: key}}]
  forwardClientIdHeader: x-client
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder: Path = tmp_path_factory.mktemp("gates")
    with running_mesh(folder, [service("front", DATABASE_PASSWORD=APP_SECRET), service("back")]) as running:
        assert running.get("front-1", "http://back/echo").status_code == 200
        (folder / "keys.txt").write_text(f"# partners\nshop:{KEY}\n")
        (folder / "gates.yaml").write_text(ROUTE + GATES)
        running.run("apply", "-f", str(folder / "gates.yaml"), "--wait")
        yield running


def received(response: requests.Response) -> dict[str, str]:
    """The headers that the application received."""
    assert response.status_code == 200, response.text
    return {name.lower(): value for name, value in response.json()["headers"].items()}


def test_a_gateway_asks_for_a_password_and_tells_the_application_who_it_is(mesh: Mesh) -> None:
    mesh.reset("back-1")
    key = {"x-api-key": KEY}
    missing = mesh.outside("/echo", headers=key)
    assert missing.status_code == 401
    assert missing.headers["www-authenticate"] == 'Basic realm="Shop"'
    assert 'refused by ["BasicAuthentication/operators"] (no_credential_for_basic_auth)' in missing.text
    for auth in (("ann", "wrong"), ("bob", PASSWORD), ("", "")):
        assert mesh.outside("/echo", auth=auth, headers=key).status_code == 401, auth
    assert mesh.outside("/echo", headers={**key, "authorization": "Bearer x"}).status_code == 401
    assert mesh.counts("back-1") == {}
    forged = {"x-user": "root"}
    headers = received(mesh.outside("/echo", auth=("ann", PASSWORD), headers={**key, **forged}))
    assert headers["x-user"] == "ann"
    assert "authorization" not in headers


def test_a_service_asks_every_caller_for_a_key_and_removes_it(mesh: Mesh) -> None:
    mesh.reset("back-1")
    missing = mesh.get("front-1", "http://back/echo")
    assert missing.status_code == 401
    assert 'refused by ["APIKeyAuthentication/partners"] (missing_api_key)' in missing.text
    assert mesh.get("front-1", "http://back/echo", headers={"x-api-key": "wrong"}).status_code == 401
    assert mesh.counts("back-1") == {}
    forged = {"x-client": "root", "x_client": "root"}
    headers = received(mesh.get("front-1", "http://back/echo", headers={"x-api-key": KEY, **forged}))
    assert headers["x-client"] == "shop"
    assert not {"x-api-key", "x_client"} & headers.keys()
    by_cookie = mesh.get("front-1", "http://back/echo", headers={"cookie": f"key={KEY}; theme=dark"})
    assert received(by_cookie)["cookie"] == "theme=dark"
    response = mesh.get("front-1", f"http://back/echo?api_key={KEY}&page=2")
    assert received(response)["x-client"] == "shop"
    assert KEY not in response.text


def test_a_request_passes_several_gates_only_with_all_credentials(mesh: Mesh) -> None:
    assert mesh.outside("/echo", auth=("ann", PASSWORD)).status_code == 401
    assert mesh.outside("/echo", headers={"x-api-key": KEY}).status_code == 401
    headers = received(mesh.outside("/echo", auth=("ann", PASSWORD), headers={"x-api-key": KEY}))
    assert (headers["x-user"], headers["x-client"]) == ("ann", "shop")


def test_refusals_are_explained_and_secrets_are_shown_nowhere(mesh: Mesh) -> None:
    response = mesh.get("front-1", "http://back/echo")
    request_id = response.headers["x-request-id"]

    def explained() -> str:
        done = mesh.run("why", request_id, check=False)
        return done.stdout if "APIKeyAuthentication partners" in done.stdout else ""

    why = until(explained, "mesh why names the policy")
    assert "the request has no API key" in why
    event = until(lambda: find_event(mesh, "refusal", "front → back", "partners"), "an event")
    shown = [why, event["message"], mesh.run("get", "basicauthentication").stdout]
    shown += [api(mesh, f"/api/v1/{path}").text for path in ("policies", "revisions/1", "events")]
    shown += [mesh.run("proxy", name, "config").stdout for name in ("back-1", "ingress")]
    secret_parts = (KEY, user("ann", PASSWORD).partition("}")[2])
    assert any("<redacted>" in text for text in shown)
    for text in shown:
        assert not [part for part in secret_parts if part in text]
    for log in (mesh.state / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert not [part for part in secret_parts if part in text], log


def secrets_of(mesh: Mesh) -> dict[str, str]:
    """Every secret of a mesh, by where it is."""
    state = mesh.state
    files = [*state.glob("*.token"), *state.glob("tokens/*"), *state.glob("sidecars/*/credential")]
    texts = {str(path): path.read_text().strip() for path in [*files, state / "store" / "password"]}
    keys = [state / "ca" / "root.key", *state.glob("sidecars/*/identity.json")]
    for path in keys:
        text = path.read_text().replace("\\n", "\n")
        body = text.partition("PRIVATE KEY-----\n")[2].partition("\n")[0]
        assert len(body) > 40, path
        texts[str(path)] = body
    return {**texts, "environment": APP_SECRET}


def test_a_support_bundle_has_what_helps_and_no_secret(mesh: Mesh, tmp_path: Path) -> None:
    secrets = secrets_of(mesh)
    assert len(secrets) >= 12
    quoted = ["Authorization: Bearer 4f8a1c9e77", f"X-Api-Key: {KEY}", user("ann", PASSWORD)]
    inline = {"bearer": "4f8a1c9e77", "keys": KEY, "users": user("ann", PASSWORD).partition(":")[2]}
    with (mesh.state / "logs" / "front-1.log").open("a") as log:
        log.write("\n".join(["the app tells everything:", *quoted, *secrets.values(), "its last line\n"]))
    path = tmp_path / "bundle.tar.gz"
    mesh.run("support-bundle", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as tar:
        files = {member.name.partition("/")[2]: tar.extractfile(member) for member in tar}
        texts = {name: file.read().decode() for name, file in files.items() if file}
    for place, secret in {**secrets, **inline}.items():
        assert not [name for name, text in texts.items() if secret in text], place
    assert not [name for name in texts if name.endswith(".error.txt")]
    assert "its last line" in texts["proxies/front.front-1/logs.json"]
    assert "APIKeyAuthentication" in texts["mesh/policies.json"]
    assert "api_key_auth" in texts["proxies/back.back-1/config.json"]
    assert {"host/doctor.json", "host/logs/control-plane.log", "mesh/versions.json"} <= texts.keys()
