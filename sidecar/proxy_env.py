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

NO_PROXY = ("localhost", "127.0.0.1", "::1")
"""Hosts that the app calls directly: its own host."""

_USER_EXPORTER = re.compile(r"OTEL_EXPORTER_OTLP_(TRACES_)?(ENDPOINT|PROTOCOL)")
"""Settings by which the user sends spans elsewhere; one without the other would not work."""

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

    What the user set keeps its meaning: NO_PROXY gets the mesh's hosts too, and HTTPS_PROXY and the settings
    of OpenTelemetry remain. Only HTTP_PROXY and grpc_proxy are replaced, which lead into the mesh.
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
    environ |= _proxies(environ, proxy)
    environ.setdefault("NODE_USE_ENV_PROXY", "1")  # Node.js 24 and newer ignore proxy settings without it
    environ |= _opentelemetry(environ, workload, ports.otlp)
    environ |= {"SERVICE_NAME": workload.service, "INSTANCE": workload.name}
    environ["SERVICE_VERSION"] = workload.labels.get("version") or environ.get("SERVICE_VERSION", "")
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


def _proxies(user: Mapping[str, str], proxy: str) -> dict[str, str]:
    """The proxy settings in both cases. A user's HTTPS proxy stays, and so do hosts that need no proxy.

    Only a `*` among these is dropped: it would lead every call past the mesh.
    """
    https = user.get("https_proxy") or user.get("HTTPS_PROXY") or proxy
    without = f"{user.get('no_proxy', '')},{user.get('NO_PROXY', '')}".split(",")
    hosts = dict.fromkeys((*NO_PROXY, *(host for entry in without if (host := entry.strip()).strip("*"))))
    settings = {"http_proxy": proxy, "grpc_proxy": proxy, "https_proxy": https, "no_proxy": ",".join(hosts)}
    return settings | {name.upper(): value for name, value in settings.items()}


def _opentelemetry(user: Mapping[str, str], workload: Workload, port: int) -> dict[str, str]:
    """Settings of OpenTelemetry's SDKs: the app's resource attributes, and its sidecar's `port` for spans."""
    given = user.get("OTEL_RESOURCE_ATTRIBUTES", "")
    names = {pair.partition("=")[0].strip() for pair in given.split(",")}
    attributes = {"service.instance.id": workload.name, "service.version": workload.labels.get("version", "")}
    pairs = [f"{key}={value}" for key, value in attributes.items() if value and key not in names]
    settings = {
        "OTEL_SERVICE_NAME": user.get("OTEL_SERVICE_NAME") or workload.service,
        "OTEL_RESOURCE_ATTRIBUTES": ",".join([given, *pairs] if given else pairs),
    }
    if not port:
        return settings
    settings["OTEL_PROPAGATORS"] = user.get("OTEL_PROPAGATORS") or "tracecontext,baggage"
    if not any(map(_USER_EXPORTER.fullmatch, user)):
        settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://{LOOPBACK}:{port}"
        settings["OTEL_EXPORTER_OTLP_PROTOCOL"] = "grpc"
    return settings
