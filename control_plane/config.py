"""Control-plane settings, read once from `MESH_*` at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from meshwright.control_plane.api.host_suffixes import parse_domains
from meshwright.control_plane.api.hosts import valid_host
from meshwright.control_plane.api.state_dir import CERTIFICATES_FOLDER
from meshwright.control_plane.errors import InputError


def _setting(default: Any, description: str) -> Any:
    """A field with the text that docs/reference.md shows."""
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True, slots=True)
class Settings:
    """Control-plane settings. Times are in seconds. Port 0 means a free port."""

    state: Path = field(metadata={"description": "The state directory. `--state` takes precedence."})
    bind: str = _setting("127.0.0.1", "The address where xDS, enrolment, sidecars and gateways listen.")
    advertise: str = _setting("127.0.0.1", "The address where other hosts reach this one.")
    admin_bind: str = _setting("127.0.0.1", "The address where the admin API listens.")
    admin_port: int = _setting(15080, "The admin API's port.")
    admin_names: str = _setting("", "More host names for the admin API, separated by commas.")
    read_token_file: str = _setting(
        "", "A file with the read-only token. If empty, `STATE/read.token` is created."
    )
    prometheus_token_file: str = _setting(
        "",
        "A file with Prometheus' token for service discovery. If empty, `STATE/prometheus.token` is created.",
    )
    xds_port: int = _setting(15012, "The port for xDS and agents (mutual TLS).")
    enrolment_port: int = _setting(15011, "The port where new nodes get certificates (HTTPS, join token).")
    otlp_port: int = _setting(4317, "The port where sidecars send telemetry (OTLP/gRPC, mutual TLS).")
    otlp_forward: str = _setting(
        "",
        "A collector that gets all telemetry by OTLP/gRPC: `host:port` on loopback, `https://host:port`, or "
        "`http://host:port` without encryption.",
    )
    otlp_forward_ca: str = _setting("", "A PEM file with the collector's CA. If empty, the system's CAs.")
    otlp_forward_headers_file: str = _setting(
        "", "A file of `name: value` lines: headers that the collector needs."
    )
    redis_url: str = _setting("", "A Redis or Valkey to use. If empty, one is embedded.")
    redis_password_file: str = _setting("", "A file with its password, if the URL has none.")
    trust_domain: str = _setting("mesh.local", "The trust domain of all identities.")
    svid_ttl: float = _setting(3600.0, "The lifetime of a certificate, which is renewed after half of it.")
    edge_ttl: float = _setting(60.0, "How long an edge without traffic stays in the topology.")
    lease_ttl: float = _setting(6.0, "How long an instance stays registered without renewing its lease.")
    idle_ttl: float = _setting(
        3600.0, "How long a service is remembered after its last instance left cleanly."
    )
    drain_delay: float = _setting(
        3.0, "How long a gateway that stops fails its readiness before it closes its ports."
    )
    certificates: str = _setting(
        "", "The folder with the certificates of this host's gateways. If empty, `STATE/certificates`."
    )
    ca_certificate: str = _setting("", "A PEM file with the root certificate. If empty, one is created.")
    ca_key: str = _setting("", "A PEM file with its key.")
    ca_tokens_key: str = _setting(
        "", "A file with 32 random bytes that sign join tokens. If empty, one is created."
    )
    ca_replaces: str = _setting(
        "", "The root that is given up, by the digits that a refused start names. Every sidecar enrols again."
    )
    proxy_credential: str = _setting(
        "on", "`off`: sidecars forward the calls of every process of the host, not only those of their app."
    )
    outbound: str = _setting(
        "allow",
        "`deny`: sidecars refuse calls to hosts outside the mesh, except of applications that allow them.",
    )
    domains: str = _setting(
        "mesh",
        "Domains in which every service has a name, separated by commas: `mesh,internal` for `orders.mesh` "
        "and `orders.internal`. `mesh` always is one.",
    )
    envoy_patches: str = _setting(
        "allow", "`deny`: an `EnvoyPatch` is refused, and those of earlier revisions are not in force."
    )
    verify: str = _setting(
        "on", "`off`: a change of policies is made without asking an Envoy about the new configuration first."
    )
    push: str = _setting(
        "staged",
        "A change of policies reaches the proxies in waves, and is undone if it does harm. `immediate`: it "
        "reaches all of them at once.",
    )
    push_watch: float = _setting(
        10.0, "How long the first wave of a push is watched, if it has traffic; later ones half as long."
    )
    history_hours: float = _setting(
        24.0,
        "How many hours of the past `mesh at` and the dashboard can show; from the second one on, by the "
        "minute. 0: none.",
    )
    history_mb: float = _setting(
        64.0, "How many megabytes of the store this may take. The oldest is given up first."
    )
    log_level: str = _setting("info", "`debug`, `info`, `warning` or `error`.")

    @property
    def host_domains(self) -> tuple[str, ...]:
        """The domains in which every service has a name."""
        return parse_domains(self.domains)

    @property
    def patches_allowed(self) -> bool:
        """Whether the mesh takes patches of Envoy's configuration."""
        return self.envoy_patches == "allow"

    @property
    def certificate_folder(self) -> Path:
        """Where the files of Certificates are that have relative names."""
        return Path(self.certificates).absolute() if self.certificates else self.state / CERTIFICATES_FOLDER


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from an environment. Raises InputError naming the variable that is wrong."""
    values: dict[str, object] = {"state": Path(environ.get("MESH_STATE") or ".mesh").absolute()}
    for setting in fields(Settings):
        text = environ.get(f"MESH_{setting.name.upper()}", "")
        if setting.name != "state" and text:
            values[setting.name] = _parse(setting.name, text, type(setting.default))
    return Settings(**values)  # type: ignore[arg-type]


class _Limits(NamedTuple):
    low: float
    high: float
    unit: str


_LIMITS = {
    "drain_delay": _Limits(0, 30, "seconds"),
    "push_watch": _Limits(0, 600, "seconds"),
    "history_hours": _Limits(0, 720, "hours"),
    "history_mb": _Limits(1, 4096, "megabytes"),
}
_CHOICES = {
    "proxy_credential": ("on", "off"),
    "verify": ("on", "off"),
    "push": ("staged", "immediate"),
    "outbound": ("allow", "deny"),
    "envoy_patches": ("allow", "deny"),
}


def _parse(name: str, text: str, kind: Any) -> object:
    variable = f"MESH_{name.upper()}"
    try:
        value: object = kind(text)
    except ValueError:
        raise InputError(f"{variable}: {text!r} is not a number: give one or leave it out") from None
    if name.endswith("_port") and not 0 <= int(text) <= 65535:
        raise InputError(f"{variable}: {text} is not a valid port: give one from 0 to 65535")
    if (limits := _LIMITS.get(name)) and not limits.low <= float(text) <= limits.high:
        raise InputError(f"{variable}: {text} is not from {limits.low:g} to {limits.high:g} {limits.unit}")
    if (choices := _CHOICES.get(name)) and text not in choices:
        raise InputError(f"{variable}: {text!r} is not a choice: use {' or '.join(choices)}")
    if name == "domains":
        try:
            parse_domains(text)
        except ValueError as error:
            raise InputError(f"{variable}: {error}: separate domains by commas") from None
    if name == "advertise":
        try:
            valid_host(text)
        except ValueError as error:
            raise InputError(
                f"{variable}: {error}: give the address at which others reach this host"
            ) from None
    return value
