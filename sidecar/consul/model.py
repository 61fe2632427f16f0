"""What applications send, in Consul's field names, and what it means in the mesh.

Fields and defaults are those of Consul's documentation of the agent's HTTP API (service and check
registration). Other fields are refused or ignored as meshwright.sidecar.consul.fields says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.sidecar.consul.fields import REFUSED_OF_CHECK, REFUSED_OF_SERVICE, refuse_fields

CheckStatus = Literal["passing", "warning", "critical"]

MAX_CHECKS = 16
"""Checks of one service."""

MAX_OUTPUT = 4096
"""Characters of a check's output, as in Consul."""

MIN_INTERVAL = 1.0
"""Seconds, as in Consul: a shorter interval or timeout is taken as this."""

MIN_DEREGISTER_AFTER = 60.0
"""Seconds after which a critical service is deregistered at the earliest, as in Consul."""

PORT_LABEL = "consul.meshwright.io/port"
TAG_LABEL = "tag.consul.meshwright.io/"
CALLER_LABEL = "consul.meshwright.io/caller"
"""Labels of an instance: the port that it registered, each of its tags, and that it only calls. So other
agents know them."""

SHAPES: Mapping[str, str] = {
    "Name": "the name of a service here: lower-case letters, digits and hyphens, at most 63",
    "HTTP": "an address such as http://127.0.0.1:8000/health",
    "TCP": "an address such as 127.0.0.1:8000",
    "GRPC": "an address such as 127.0.0.1:8000 or 127.0.0.1:8000/SERVICE",
    "Method": "a method of HTTP in upper case",
}
"""What fields with a pattern should be, for errors."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_LABEL_KEY = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_./]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def parse_duration(text: Any) -> float:
    """Seconds of a Go duration such as `10s` or `1m30s`; raises ValueError."""
    if text in (None, ""):
        return 0.0
    if isinstance(text, int | float):
        return float(text) / 1e9  # Go's own unit in JSON
    parts = _PART.findall(str(text))
    if not parts or "".join(number + unit for number, unit in parts) != text or len(text) > 32:
        raise ValueError(f"{str(text)[:32]!r} is not a duration such as 10s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


Duration = Annotated[
    float, BeforeValidator(parse_duration), PlainSerializer(lambda seconds: f"{seconds:f}s", return_type=str)
]


def _plain_http(url: Any) -> Any:
    if isinstance(url, str) and url.startswith("https:"):
        raise ValueError("https is not supported: an application beside a sidecar listens in plaintext")
    return url


class ConsulModel(BaseModel):
    """Base of what applications send: fields by their Consul names."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    refused: ClassVar[Mapping[str, str]] = {}
    """Fields that are errors, with the reasons."""

    @model_validator(mode="before")
    @classmethod
    def _by_alias(cls, value: Any) -> Any:
        """Consul takes field names in any case, some with underscores, and null for what is not set."""
        if not isinstance(value, dict):
            return value
        refuse_fields(value, cls.refused)
        names = {
            (field.alias or name).lower(): field.alias or name for name, field in cls.model_fields.items()
        }
        return {
            names[alias]: item
            for key, item in value.items()
            if item is not None and (alias := str(key).replace("_", "").lower()) in names
        }


class CheckDefinition(ConsulModel):
    """A check: exactly one of `ttl`, `http`, `tcp` and `grpc`."""

    refused = REFUSED_OF_CHECK

    id: str = Field("", alias="CheckID", max_length=255)
    short_id: str = Field("", alias="ID", max_length=255)
    name: str = Field("", alias="Name", max_length=255)
    notes: str = Field("", alias="Notes", max_length=1024)
    service_id: str = Field("", alias="ServiceID", max_length=255)
    ttl: Duration = Field(0.0, alias="TTL", ge=0, le=86_400)
    http: Annotated[str, BeforeValidator(_plain_http)] = Field(
        "", alias="HTTP", pattern=r"^(http://\S+)?$", max_length=1024
    )
    method: str = Field("GET", alias="Method", pattern=r"^[A-Z]{0,16}$")
    header: dict[str, list[str]] = Field({}, alias="Header", max_length=32)
    body: str = Field("", alias="Body", max_length=4096)
    tcp: str = Field("", alias="TCP", pattern=r"^(\S+:\d{1,5})?$", max_length=255)
    grpc: str = Field("", alias="GRPC", pattern=r"^(\S+:\d{1,5}(/\S{0,127})?)?$", max_length=255)
    interval: Duration = Field(10.0, alias="Interval", ge=0, le=86_400)
    timeout: Duration = Field(10.0, alias="Timeout", ge=0, le=3600)
    status: CheckStatus = Field("critical", alias="Status")
    success_before_passing: int = Field(0, alias="SuccessBeforePassing", ge=0, le=100)
    failures_before_critical: int = Field(0, alias="FailuresBeforeCritical", ge=0, le=100)
    deregister_after: Duration = Field(0.0, alias="DeregisterCriticalServiceAfter", ge=0, le=31_536_000)

    @model_validator(mode="after")
    def _one_kind(self) -> CheckDefinition:
        if sum(map(bool, (self.ttl, self.http, self.tcp, self.grpc))) != 1:
            raise ValueError("a check needs exactly one of TTL, HTTP (http://...), TCP and GRPC")
        return self

    @property
    def kind(self) -> str:
        """Consul's name of its type."""
        return "ttl" if self.ttl else "http" if self.http else "tcp" if self.tcp else "grpc"


class CheckUpdate(ConsulModel):
    """The status that an application reports for its TTL check."""

    status: CheckStatus = Field("passing", alias="Status")
    output: str = Field("", alias="Output")


class ServiceRegistration(ConsulModel):
    """A service instance, as `/v1/agent/service/register` takes it."""

    refused = REFUSED_OF_SERVICE

    name: Name = Field(alias="Name")
    given_id: str = Field("", alias="ID", max_length=255)
    tags: tuple[Annotated[str, Field(max_length=63)], ...] = Field((), alias="Tags", max_length=16)
    meta: dict[str, Annotated[str, Field(max_length=512)]] = Field({}, alias="Meta", max_length=64)
    address: str = Field("", alias="Address", max_length=255)
    port: int = Field(alias="Port", ge=1, le=65535)
    check: CheckDefinition | None = Field(None, alias="Check")
    more_checks: tuple[CheckDefinition, ...] = Field((), alias="Checks", max_length=MAX_CHECKS)

    @property
    def id(self) -> str:
        """Its ID at this agent; without one its name, as in Consul."""
        return self.given_id or self.name

    @property
    def checks(self) -> tuple[CheckDefinition, ...]:
        """All its checks."""
        return (*((self.check,) if self.check else ()), *self.more_checks)

    def with_checks(self, checks: Mapping[str, CheckDefinition]) -> ServiceRegistration:
        """The same service with these checks, by ID."""
        named = tuple(check.model_copy(update={"id": id}) for id, check in checks.items())
        return self.model_copy(update={"check": None, "more_checks": named})

    @property
    def protocol(self) -> Literal["", "http", "grpc", "tcp"]:
        """What the metadata `protocol` says; empty: nothing. Raises ValueError for another one."""
        match self.meta.get("protocol", ""):
            case "" | "http" | "grpc" | "tcp" as protocol:
                return protocol
            case other:
                raise ValueError(f"protocol {other[:63]!r}: write http, grpc or tcp")

    def labels(self) -> dict[str, str]:
        """Its labels in the mesh: port, tags and metadata, as far as they can be labels."""
        tags = {f"{TAG_LABEL}{tag}": "true" for tag in self.tags}
        labels = {PORT_LABEL: str(self.port), **tags, **self.meta}
        valid = {k: v for k, v in labels.items() if _LABEL_KEY.fullmatch(k) and _LABEL_VALUE.fullmatch(v)}
        return dict(list(valid.items())[:32])


def instance_name(service: str, id: str) -> str:
    """The instance's name in the mesh: its ID if that is a name, else one that is made of both."""
    if re.fullmatch(NAME_PATTERN, id):
        return id
    suffix = hashlib.sha256(id.encode()).hexdigest()[:8]
    return f"{service[:54].rstrip('-')}-{suffix}"


def worst(statuses: list[CheckStatus]) -> CheckStatus:
    """The status of several checks together."""
    return "critical" if "critical" in statuses else "warning" if "warning" in statuses else "passing"
