"""The pieces that the manifests are made of, as plain values. Pure."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

UID = 10001
"""The user of the image."""

IMAGE = "meshwright"
STATE = "/var/lib/meshwright"

_OPEN = "u.build_opener(u.ProxyHandler({})).open(os.environ['HEALTH_URL'], timeout=2)"
WELL = f"import os, urllib.request as u; {_OPEN}"
"""Asks what HEALTH_URL names, from inside: an app listens on its pod's loopback only."""


def meta(name: str, **more: Any) -> Json:
    """Metadata with the label that everything of one part has."""
    return {"name": name, "labels": {"app.kubernetes.io/name": name}, **more}


def variables(**values: str) -> list[Json]:
    """Environment variables."""
    return [{"name": name, "value": value} for name, value in values.items()]


def field(name: str, path: str) -> Json:
    """A variable from a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def resources(cpu: str, memory: str) -> Json:
    """What a container asks for; twice the memory is its limit, and no limit of CPU throttles it."""
    number, unit = memory[:-2], memory[-2:]
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": f"{int(number) * 2}{unit}"}}


def http(path: str, port: int, **more: int) -> Json:
    """A probe by HTTP."""
    return {"httpGet": {"path": path, "port": port}, **more}


def command(*argv: str, **more: int) -> Json:
    """A probe by a command in the container."""
    return {"exec": {"command": list(argv)}, **more}


def sealed() -> Json:
    """A container that can change neither its image nor its rights."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def pod(name: str, spec: Json, *, user: int = UID) -> Json:
    """A pod's template."""
    context = {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    value = {"automountServiceAccountToken": False, "securityContext": context, **spec}
    return {"metadata": {"labels": {"app.kubernetes.io/name": name}}, "spec": value}


def spread(name: str) -> list[Json]:
    """Pods of one part on different nodes, where there are several."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector(name),
        }
    ]


def selector(name: str) -> Json:
    """Everything of one part."""
    return {"matchLabels": {"app.kubernetes.io/name": name}}


def deployment(name: str, replicas: int, template: Json) -> Json:
    """Pods without a memory; a new one is there before an old one goes."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    spec = {"replicas": replicas, "strategy": rolling, "selector": selector(name), "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(name), "spec": spec}


def stateful(name: str, template: Json, size: str) -> Json:
    """One pod with a volume `data`."""
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }
    spec = {
        "serviceName": name,
        "replicas": 1,
        "selector": selector(name),
        "template": template,
        "volumeClaimTemplates": [claim],
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta(name), "spec": spec}


def service(name: str, ports: dict[str, int], **more: Any) -> Json:
    """A name for pods, by ports of the same number."""
    listed = [{"name": port, "port": number, "targetPort": number} for port, number in ports.items()]
    spec = {"selector": {"app.kubernetes.io/name": name}, "ports": listed, **more}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta(name), "spec": spec}


def budget(name: str) -> Json:
    """At most one pod of a part is taken away at a time."""
    spec = {"maxUnavailable": 1, "selector": selector(name)}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta(name),
        "spec": spec,
    }


def secret_volume(name: str, secret: str) -> Json:
    """A volume of a Secret, readable to the pod's group: Kubernetes leaves the files to root."""
    return {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}


def mount(name: str, path: str, *, read_only: bool = False) -> Json:
    """A volume in a container."""
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
