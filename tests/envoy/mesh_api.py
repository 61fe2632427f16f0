"""The admin API of a mesh under test: addresses, metrics, states of sidecars."""

from __future__ import annotations

import json
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from meshwright.control_plane.api.state_dir import MeshAddresses
from tests.envoy.harness import Mesh, until


def addresses(mesh: Mesh) -> MeshAddresses:
    """The addresses of the control plane."""
    return MeshAddresses.model_validate_json((mesh.state / "mesh.json").read_bytes())


def api(mesh: Mesh, path: str) -> requests.Response:
    """GET from the admin API with the admin token. Faster than a command, which has to start."""
    token = (mesh.state / "admin.token").read_text().strip()
    with requests.Session() as session:
        session.trust_env = False
        return session.get(
            addresses(mesh).admin + path, headers={"authorization": f"Bearer {token}"}, timeout=10
        )


def metrics(mesh: Mesh) -> dict[str, float]:
    """The metrics of the control plane by name and labels: `NAME{"LABEL": "VALUE"}`."""
    text = api(mesh, "/metrics").text
    return {
        sample.name + (json.dumps(sample.labels, sort_keys=True) if sample.labels else ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def find_event(mesh: Mesh, kind: str, subject: str, message: str) -> dict[str, Any] | None:
    """The newest event of this kind, with this text in its subject and message."""
    events = json.loads(mesh.run("events", "-o", "json", "-n", "1000", "--kind", kind).stdout)["items"]
    matching = [event for event in events if subject in event["subject"] and message in event["message"]]
    return matching[-1] if matching else None


def refused(mesh: Mesh, policy: str) -> set[tuple[str, str]]:
    """Callers that a policy (`Kind/name`) refused lately, and what became of their requests."""
    refusals = api(mesh, "/api/v1/refusals").json()["refusals"]
    return {(entry["caller"], entry["outcome"]) for entry in refusals if policy in entry["policies"]}


def states(mesh: Mesh) -> dict[str, str]:
    """The states of the sidecars by name; empty while the control plane does not respond."""
    try:
        return {proxy["name"]: proxy["state"] for proxy in api(mesh, "/api/v1/status").json()["proxies"]}
    except (requests.RequestException, OSError, KeyError):
        return {}


def wait_until_synced(mesh: Mesh, names: set[str]) -> None:
    """Wait until exactly these sidecars are connected, with their current configuration."""
    until(lambda: states(mesh) == dict.fromkeys(names, "synced"), f"{names} synced, but {states(mesh)}")
