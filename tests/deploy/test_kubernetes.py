"""The Kubernetes manifests: valid, as their builder makes them, every reference resolved."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from meshwright.deploy.kubernetes import build
from tests.envoy.harness import ROOT

FOLDER = ROOT / "deploy/kubernetes"
VERSION = "1.29"
"""The first in which an agent may be a native sidecar container without a feature gate."""

Json = dict[str, Any]


@cache
def documents() -> tuple[Json, ...]:
    """Everything but the kustomization."""
    paths = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
    return tuple(item for path in paths for item in YAML(typ="safe").load_all(path))


def kustomization() -> Json:
    document: Json = YAML(typ="safe").load(FOLDER / "kustomization.yaml")
    return document


def of(kind: str) -> dict[str, Json]:
    return {document["metadata"]["name"]: document for document in documents() if document["kind"] == kind}


def pods() -> Iterator[tuple[str, Json]]:
    for name, item in {**of("Deployment"), **of("StatefulSet")}.items():
        yield name, item["spec"]["template"]["spec"]


def containers() -> list[tuple[str, Json]]:
    return [
        (f"{name}/{item['name']}", item)
        for name, pod in pods()
        for item in (*pod.get("initContainers", ()), *pod["containers"])
    ]


def test_they_are_what_the_builder_makes() -> None:
    assert build.main(["--check"]) == 0


@pytest.mark.parametrize("number", range(len(documents())))
def test_a_manifest_is_valid(number: int) -> None:
    kubernetes_validate.validate(documents()[number], VERSION, strict=True)


def test_the_kustomization_names_every_file_and_files_that_are_made() -> None:
    top = kustomization()
    there = sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
    assert top["resources"] == there
    script = (FOLDER / "prepare.sh").read_text()
    for secret in top["secretGenerator"]:
        for entry in secret["files"]:
            assert entry.rpartition("/")[2] in script, entry
    assert (FOLDER / "databases.sql").read_text() == (ROOT / "deploy/compose/databases.sql").read_text()


def test_volumes_secrets_and_maps_that_are_named_are_there() -> None:
    top = kustomization()
    secrets = {item["name"] for item in top["secretGenerator"]}
    joining = (FOLDER / "tokens.sh").read_text().split()
    for name, pod in pods():
        volumes = {item["name"]: item for item in pod.get("volumes", ())}
        for volume in volumes.values():
            secret = volume.get("secret", {}).get("secretName", "mesh")
            role = secret.removeprefix("join-")
            assert secret in secrets or any(role == word.strip(";") for word in joining), f"{name}: {secret}"
            assert volume.get("configMap", {}).get("name", "databases") == "databases"
        claimed = {"data"} if name in of("StatefulSet") else set()
        for item in (*pod.get("initContainers", ()), *pod["containers"]):
            mounted = {volumeMount["name"] for volumeMount in item["volumeMounts"]}
            assert mounted <= {*volumes, *claimed}, f"{name}: {mounted}"


@pytest.mark.parametrize(("name", "container"), containers(), ids=[name for name, _ in containers()])
def test_a_container_is_probed_bounded_and_sealed(name: str, container: Json) -> None:
    assert {"readinessProbe", "livenessProbe"} <= container.keys()
    declared = {item["containerPort"] for item in container.get("ports", ())}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        value = container.get(kind, {}).get("httpGet")
        assert value is None or value["port"] in declared
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_every_part_has_a_service_and_a_budget_that_select_its_pods() -> None:
    for name, item in {**of("Deployment"), **of("StatefulSet")}.items():
        labels = item["spec"]["template"]["metadata"]["labels"]
        assert of("Service")[name]["spec"]["selector"] == labels
        assert of("PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"] == labels
        open_ports = {
            port["containerPort"]
            for _, container in containers()
            if _.startswith(f"{name}/")
            for port in container.get("ports", ())
        }
        assert {port["targetPort"] for port in of("Service")[name]["spec"]["ports"]} <= open_ports


def test_agents_are_native_sidecars() -> None:
    services = {service["name"] for service in YAML(typ="safe").load(build.APPLICATION)["spec"]["services"]}
    sidecars = {
        container["command"][3]
        for name, pod in pods()
        for container in pod.get("initContainers", ())
        if container["restartPolicy"] == "Always"
    }
    assert sidecars == services


def test_the_scripts_are_shell() -> None:
    for path in sorted([*FOLDER.glob("*.sh"), *(ROOT / "deploy/compose").glob("*.sh")]):
        done = subprocess.run(["/bin/sh", "-n", str(path)], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), path
        assert Path(path).stat().st_mode & 0o111 or path.name == "setup.sh"
