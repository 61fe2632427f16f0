"""Building blocks of the manifests, as plain values. Pure."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

UID = 10001
"""The user id of the image."""

IMAGE = "meshwright"
STATE = "/var/lib/meshwright"
SECRETS = "/run/secrets/mesh"
TMP = "/tmp"  # noqa: S108  a volume of the pod


def metadata(name: str, **more: Any) -> Json:
    """Metadata with the name as a label, which the selectors use."""
    return {"name": name, "labels": {"app.kubernetes.io/name": name}, **more}


def env_vars(**values: str) -> list[Json]:
    """Environment variables."""
    return [{"name": name, "value": value} for name, value in values.items()]


def env_from_field(name: str, path: str) -> Json:
    """An environment variable from a field of the pod, such as status.podIP."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def resources(cpu: str, memory: str) -> Json:
    """Requests of CPU and memory. The memory limit is twice the request; there is no CPU limit."""
    number, unit = memory[:-2], memory[-2:]
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": f"{int(number) * 2}{unit}"}}


PROBE_TIMEOUT = {"timeoutSeconds": 5}
"""Of every probe, unless it says otherwise. A second, the default, is too short on a busy node."""


def http_probe(path: str, port: int, **more: int) -> Json:
    """An HTTP probe."""
    return {"httpGet": {"path": path, "port": port}, **PROBE_TIMEOUT, **more}


def exec_probe(*argv: str, **more: int) -> Json:
    """A probe that runs a command in the container: a process or more each time, so let it be rare."""
    return {"exec": {"command": list(argv)}, **PROBE_TIMEOUT, **more}


def tcp_probe(port: int, **more: int) -> Json:
    """A probe that connects."""
    return {"tcpSocket": {"port": port}, **PROBE_TIMEOUT, **more}


def loopback_probe(path: str, port: int, **more: int) -> Json:
    """An HTTP probe from inside the container: an app listens on the loopback of its pod only."""
    return exec_probe("check-http", f"http://127.0.0.1:{port}{path}", **more)


def hardened() -> Json:
    """A security context: read-only root file system, no capabilities, no privilege escalation."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def pod_template(name: str, spec: Json, *, user: int = UID) -> Json:
    """A pod template that runs as `user`, not as root."""
    context = {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pod_spec = {"automountServiceAccountToken": False, "securityContext": context, **spec}
    return {"metadata": {"labels": {"app.kubernetes.io/name": name}}, "spec": pod_spec}


def topology_spread(name: str) -> list[Json]:
    """Spread the pods of a workload over nodes if possible."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector(name),
        }
    ]


def selector(name: str) -> Json:
    """A selector of everything with this name."""
    return {"matchLabels": {"app.kubernetes.io/name": name}}


def deployment(name: str, replicas: int, template: Json) -> Json:
    """A Deployment. A new pod is ready before an old one stops."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    spec = {"replicas": replicas, "strategy": rolling, "selector": selector(name), "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(name), "spec": spec}


def stateful_set(name: str, template: Json, size: str) -> Json:
    """A StatefulSet of one pod with the volume `data`."""
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
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata(name), "spec": spec}


def service(name: str, ports: dict[str, int], **more: Any) -> Json:
    """A Service whose ports are those of its pods."""
    service_ports = [{"name": port, "port": number, "targetPort": number} for port, number in ports.items()]
    spec = {"selector": {"app.kubernetes.io/name": name}, "ports": service_ports, **more}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(name), "spec": spec}


def disruption_budget(name: str) -> Json:
    """A PodDisruptionBudget: at most one pod of a workload is evicted at a time."""
    spec = {"maxUnavailable": 1, "selector": selector(name)}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(name),
        "spec": spec,
    }


def secret_volume(name: str, secret: str) -> Json:
    """A volume of a Secret that the group of the pod can read: the files belong to root."""
    return {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}


def volume_mount(name: str, path: str, *, read_only: bool = False) -> Json:
    """A mount of a volume."""
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
