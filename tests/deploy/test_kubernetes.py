"""The Kubernetes manifests: valid and up to date, and their references resolve."""

from __future__ import annotations

import json
import os
import re
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
"""The oldest Kubernetes with native sidecar containers without a feature gate."""

Json = dict[str, Any]


@cache
def documents() -> tuple[Json, ...]:
    """All objects, without the kustomization."""
    paths = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
    return tuple(document for path in paths for document in YAML(typ="safe").load_all(path))


def kustomization() -> Json:
    document: Json = YAML(typ="safe").load(FOLDER / "kustomization.yaml")
    return document


def objects(kind: str) -> dict[str, Json]:
    """Objects of a kind by name."""
    return {document["metadata"]["name"]: document for document in documents() if document["kind"] == kind}


def pods() -> Iterator[tuple[str, Json]]:
    for name, workload in {**objects("Deployment"), **objects("StatefulSet")}.items():
        yield name, workload["spec"]["template"]["spec"]


def containers() -> list[tuple[str, Json]]:
    return [
        (f"{name}/{container['name']}", container)
        for name, pod in pods()
        for container in (*pod.get("initContainers", ()), *pod["containers"])
    ]


def test_manifests_are_up_to_date() -> None:
    assert build.main(["--check"]) == 0


@pytest.mark.parametrize("number", range(len(documents())))
def test_manifest_is_valid(number: int) -> None:
    kubernetes_validate.validate(documents()[number], VERSION, strict=True)


def test_kustomization_lists_all_manifests_and_existing_secret_files() -> None:
    top = kustomization()
    files = sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
    assert top["resources"] == files
    script = (FOLDER / "prepare.sh").read_text()
    for secret in top["secretGenerator"]:
        for entry in secret["files"]:
            assert entry.rpartition("/")[2] in script, entry
    assert (FOLDER / "databases.sql").read_text() == (ROOT / "deploy/compose/databases.sql").read_text()


def test_volumes_secrets_and_config_maps_exist() -> None:
    top = kustomization()
    secrets = {secret["name"] for secret in top["secretGenerator"]}
    script = (FOLDER / "tokens.sh").read_text().split()
    for name, pod in pods():
        volumes = {volume["name"]: volume for volume in pod.get("volumes", ())}
        for volume in volumes.values():
            secret = volume.get("secret", {}).get("secretName", "mesh")
            role = secret.removeprefix("join-")
            assert secret in secrets or any(role == word.strip(";") for word in script), f"{name}: {secret}"
            assert volume.get("configMap", {}).get("name", "databases") == "databases"
        claims = {"data"} if name in objects("StatefulSet") else set()
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted <= {*volumes, *claims}, f"{name}: {mounted}"


@pytest.mark.parametrize(("name", "container"), containers(), ids=[name for name, _ in containers()])
def test_container_has_probes_resources_and_a_read_only_root(name: str, container: Json) -> None:
    assert {"readinessProbe", "livenessProbe"} <= container.keys()
    declared = {port["containerPort"] for port in container.get("ports", ())}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        request = container.get(kind, {}).get("httpGet")
        assert request is None or request["port"] in declared
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


@pytest.mark.parametrize(("name", "container"), containers(), ids=[name for name, _ in containers()])
def test_probes_are_patient_and_cost_little_once_the_container_is_ready(name: str, container: Json) -> None:
    """What serves stays healthy on a busy node, and probes that start processes are rare once it does."""
    for kind, least in {"startupProbe": 1, "readinessProbe": 10, "livenessProbe": 30}.items():
        probe = container.get(kind)
        if probe is None:
            continue
        assert probe["timeoutSeconds"] >= 5, f"{name}: {kind}"
        command = probe.get("exec", {}).get("command")
        assert command is None or probe["periodSeconds"] >= least, f"{name}: {kind}"
        assert not command or command[0] != "pg_isready" or "--host" in command, f"{name}: {kind}"


def test_service_and_disruption_budget_select_the_pods_of_each_workload() -> None:
    for name, workload in {**objects("Deployment"), **objects("StatefulSet")}.items():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert objects("Service")[name]["spec"]["selector"] == labels
        assert objects("PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"] == labels
        open_ports = {
            port["containerPort"]
            for path, container in containers()
            if path.startswith(f"{name}/")
            for port in container.get("ports", ())
        }
        assert {port["targetPort"] for port in objects("Service")[name]["spec"]["ports"]} <= open_ports


def test_agents_are_native_sidecars() -> None:
    services = {service["name"] for service in YAML(typ="safe").load(build.APPLICATION)["spec"]["services"]}
    sidecars = {
        container["command"][3]
        for name, pod in pods()
        for container in pod.get("initContainers", ())
        if container["restartPolicy"] == "Always"
    }
    assert sidecars == services


def test_scripts_are_valid_and_executable() -> None:
    for path in sorted([*FOLDER.glob("*.sh"), *(ROOT / "deploy/compose").glob("*.sh")]):
        done = subprocess.run(["/bin/sh", "-n", str(path)], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), path
        assert Path(path).stat().st_mode & 0o111 or path.name == "setup.sh"


KUBECTL = """#!/bin/sh
echo "$*" >>"$0.calls"
case "$*" in
*" exec "*inventory*) {failure} ;;
*" exec "*) echo token-of-"$*" ;;
*create*) cat ;;
*apply*) cat >>"$0.applied" ;;
esac
"""
"""Stands for kubectl and a cluster, whose control plane gives no token for inventory."""


@pytest.mark.parametrize("failure", ["exit 1", "exit 0"], ids=["exec-fails", "exec-prints-nothing"])
def test_tokens_script_ends_where_a_token_is_missing(tmp_path: Path, failure: str) -> None:
    """And stores no secret for it, where running pods may use an earlier one."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL.replace("{failure}", failure))
    kubectl.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["/bin/sh", str(FOLDER / "tokens.sh")], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode != 0
    applied = (tmp_path / "kubectl.applied").read_text().splitlines()
    assert ["broker" in applied[0], "catalog" in applied[1], len(applied)] == [True, True, 2]
    assert "orders" not in (tmp_path / "kubectl.calls").read_text()


def test_every_service_with_tables_has_a_database_that_its_replicas_share() -> None:
    stores = {path.parent.name for path in (ROOT / "services").glob("*/store.py")}
    created = re.findall(r"CREATE DATABASE (\w+);", (FOLDER / "databases.sql").read_text())
    databases: dict[str, str] = {}
    for path, container in containers():
        env = {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}
        if "DATABASE_URL" in env:
            databases[container["command"][-1].rpartition(".")[2]] = env["DATABASE_URL"].rpartition("/")[2]
            assert "PGPASSFILE" in env, path
    assert stores == set(created) == databases.keys()
    assert all(service == database for service, database in databases.items())


@pytest.mark.parametrize(("name", "container"), containers(), ids=[name for name, _ in containers()])
def test_no_probe_that_restarts_depends_on_anything_outside(name: str, container: Json) -> None:
    """The readiness of an app includes its database, that of an Envoy its control plane."""
    live = json.dumps(container["livenessProbe"])
    assert "/ready" not in live
    if name.endswith("/app") and name != "broker/app":
        assert "/health/live" in live
        assert "/health/live" in json.dumps(container["startupProbe"])
        assert "/health/ready" in json.dumps(container["readinessProbe"])
