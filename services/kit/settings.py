"""A service's settings, read once from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_JAEGER_ENDPOINT = "http://127.0.0.1:14268/api/traces?format=jaeger.thrift"
"""Where Jaeger's collector takes Thrift over HTTP by default."""


class SettingsError(Exception):
    """An invalid variable. The text names it and says what to set."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """The settings of a service.

    `port` 0 picks a free port, shown in the log line `listening`; so does `grpc_port`, for services with
    gRPC. Responses carry `instance` as `x-served-by` and `version` as `x-service-version`, so that a client
    sees which replica it reached. In-flight requests have `drain_seconds` to finish after SIGTERM.
    `broker_url` empty: no broker, so events wait in their outboxes.
    `otlp_endpoint` empty: no span export. MESH_TRACES_EXPORTER=jaeger sets `jaeger_endpoint`, which replaces
    it. `keep_queries`: spans hold the query strings of URLs.
    """

    service: str
    instance: str
    host: str = "127.0.0.1"
    port: int = 0
    grpc_port: int = 0
    version: str = "v1"
    data_dir: Path = Path(".data")
    database_url: str = ""
    broker_url: str = ""
    log_level: str = "info"
    otlp_endpoint: str = ""
    jaeger_endpoint: str = ""
    keep_queries: bool = False
    drain_seconds: float = 30.0


def read_settings(service: str, environ: Mapping[str, str], pid: int) -> ServiceSettings:
    """Settings from `HOST`, `PORT`, `PORT_GRPC`, `INSTANCE`, `SERVICE_VERSION`, `DATA_DIR`, `DATABASE_URL`,
    `REDIS_URL` or else `BROKER_ADDRESS` (host:port), `LOG_LEVEL`, `OTEL_EXPORTER_OTLP_ENDPOINT`,
    `MESH_TRACES_EXPORTER`, `OTEL_EXPORTER_JAEGER_ENDPOINT`, `TRACES_QUERY_STRINGS` and `DRAIN_SECONDS`.
    Raises SettingsError for the first invalid one.
    """
    level = environ.get("LOG_LEVEL", "").lower() or "info"
    if level not in ("debug", "info", "warning", "error"):
        raise SettingsError(f"LOG_LEVEL: {level!r} is not a level: set debug, info, warning or error")
    exporter = environ.get("MESH_TRACES_EXPORTER") or "otlp"
    if exporter not in ("otlp", "jaeger"):
        raise SettingsError(f"MESH_TRACES_EXPORTER: {exporter!r} is not an exporter: set otlp or jaeger")
    queries = environ.get("TRACES_QUERY_STRINGS", "").lower() or "redact"
    if queries not in ("redact", "keep"):
        raise SettingsError(f"TRACES_QUERY_STRINGS: {queries!r} is not valid: set redact or keep")
    address = environ.get("BROKER_ADDRESS", "")
    jaeger = environ.get("OTEL_EXPORTER_JAEGER_ENDPOINT") or DEFAULT_JAEGER_ENDPOINT
    return ServiceSettings(
        service=service,
        instance=environ.get("INSTANCE") or f"{service}-{pid}",
        host=environ.get("HOST") or "127.0.0.1",
        port=whole_number(environ, "PORT", "0", 65535),
        grpc_port=whole_number(environ, "PORT_GRPC", "0", 65535),
        version=environ.get("SERVICE_VERSION") or "v1",
        data_dir=Path(environ.get("DATA_DIR") or ".data"),
        database_url=environ.get("DATABASE_URL", ""),
        broker_url=environ.get("REDIS_URL") or (f"redis://{address}/0" if address else ""),
        log_level=level,
        otlp_endpoint=environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        jaeger_endpoint=jaeger if exporter == "jaeger" else "",
        keep_queries=queries == "keep",
        drain_seconds=whole_number(environ, "DRAIN_SECONDS", "30", 3600),
    )


def whole_number(environ: Mapping[str, str], name: str, default: str, maximum: int) -> int:
    """The value of a variable. Raises SettingsError unless it is a whole number up to `maximum`."""
    text = environ.get(name) or default
    if not text.isascii() or not text.isdecimal() or int(text) > maximum:
        raise SettingsError(f"{name}: {text!r} is not valid: set a whole number from 0 to {maximum}")
    return int(text)
