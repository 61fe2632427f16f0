"""The control plane's settings, read once from `MESH_*` at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from meshwright.control_plane.errors import InputError


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the control plane can be told. Times are seconds; a port of 0 means a free one."""

    state: Path
    bind: str = "127.0.0.1"
    advertise: str = "127.0.0.1"
    admin_bind: str = "127.0.0.1"
    admin_port: int = 15080
    admin_names: str = ""
    read_token_file: str = ""
    prometheus_token_file: str = ""
    xds_port: int = 15012
    enrolment_port: int = 15011
    otlp_port: int = 4317
    otlp_forward: str = ""
    otlp_forward_ca: str = ""
    otlp_forward_headers_file: str = ""
    redis_url: str = ""
    redis_password_file: str = ""
    trust_domain: str = "mesh.local"
    svid_ttl: float = 3600.0
    edge_ttl: float = 60.0
    lease_ttl: float = 6.0
    ca_certificate: str = ""
    ca_key: str = ""
    ca_tokens_key: str = ""
    log_level: str = "info"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from an environment; raises InputError naming the variable that is wrong."""
    known = {"state": Path(environ.get("MESH_STATE") or ".mesh").absolute()}
    values: dict[str, object] = dict(known)
    for name in Settings.__slots__:
        text = environ.get(f"MESH_{name.upper()}", "")
        if name == "state" or not text:
            continue
        kind = type(getattr(Settings(Path()), name))
        try:
            values[name] = kind(text)
        except ValueError:
            raise InputError(
                f"MESH_{name.upper()}: {text!r} is not a number: give one or leave it out"
            ) from None
        if name.endswith("_port") and not 0 <= int(text) <= 65535:
            raise InputError(f"MESH_{name.upper()}: {text} is no port: give one from 0 to 65535")
    return Settings(**values)  # type: ignore[arg-type]
