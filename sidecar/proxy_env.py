"""The environment of an app: proxy settings that lead its calls into the sidecar, its ports, its identity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from meshwright.control_plane.api.models.base import LabelValue
from meshwright.sidecar.config import Workload
from meshwright.sidecar.files import write_private
from meshwright.sidecar.ports import LOOPBACK, WorkloadPorts
from meshwright.sidecar.proxy_credential import ProxyCredential

NO_PROXY = "localhost,127.0.0.1,::1"

_PLAIN_VALUE = re.compile(r"[-A-Za-z0-9_./:,=@\[\]]*")
"""A value that needs no quotes anywhere."""


def app_environment(
    base: Mapping[str, str],
    path_prefix: str,
    workload: Workload,
    ports: WorkloadPorts,
    credential: ProxyCredential | None = None,
) -> dict[str, LabelValue]:
    """The app's environment: `base` without `MESH_*` settings, then proxies, ports and identity.

    `path_prefix` is a folder to put before PATH, such as that of mesh's interpreter; empty leaves PATH alone.
    `credential` proves to the sidecar that a call comes from the app. The workload's `env` has the last word.
    """
    environ = {
        name: value
        for name, value in base.items()
        if not name.startswith("MESH_") or name == "MESH_TRACES_EXPORTER"
    }
    userinfo = credential.userinfo if credential else ""
    proxy = f"http://{userinfo}{LOOPBACK}:{ports.outbound}"
    path = environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    environ["PATH"] = f"{path_prefix}:{path}" if path_prefix else path
    for name, value in (("http_proxy", proxy), ("grpc_proxy", proxy), ("no_proxy", NO_PROXY)):
        environ[name] = environ[name.upper()] = value
    environ["NODE_USE_ENV_PROXY"] = "1"  # Node.js 24 and newer ignore the proxy settings without it
    environ |= _opentelemetry(workload, ports.otlp)
    environ |= {"SERVICE_NAME": workload.service, "INSTANCE": workload.name}
    environ["SERVICE_VERSION"] = workload.labels.get("version", "")
    for port in reversed(workload.ports):
        environ["PORT"] = str(ports.apps[port.name])
        environ[f"PORT_{port.name.upper().replace('-', '_')}"] = environ["PORT"]
    for name, address in ports.upstreams.items():
        environ[f"{re.sub('[-:]', '_', name).upper()}_ADDRESS"] = address
    http = next((port.name for port in workload.ports if port.protocol == "http"), None)
    if http is not None:
        environ["PORT"] = str(ports.apps[http])
    return environ | workload.env


def write_environment_file(
    path: Path, workload: Workload, ports: WorkloadPorts, credential: ProxyCredential
) -> None:
    """Write the app's environment as `NAME=value` lines, mode 0600: for systemd, containers and shells.

    It holds what app_environment adds, but not PATH, and no value that one of these would read otherwise.
    """
    environ = app_environment({}, "", workload, ports, credential)
    del environ["PATH"]
    plain = {name: value for name, value in sorted(environ.items()) if _PLAIN_VALUE.fullmatch(value)}
    write_private(path, "".join(f"{name}={value}\n" for name, value in plain.items()))


def _opentelemetry(workload: Workload, port: int) -> dict[str, str]:
    """Settings of OpenTelemetry's SDKs: the app's resource attributes, and its sidecar's `port` for spans."""
    attributes = {"service.instance.id": workload.name, "service.version": workload.labels.get("version", "")}
    pairs = ",".join(f"{key}={value}" for key, value in attributes.items() if value)
    resource = {"OTEL_SERVICE_NAME": workload.service, "OTEL_RESOURCE_ATTRIBUTES": pairs}
    if not port:
        return resource
    endpoint = f"http://{LOOPBACK}:{port}"
    exporter = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    return {**resource, **exporter, "OTEL_PROPAGATORS": "tracecontext,baggage"}
