"""TLS that proxies open to hosts outside the mesh."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.field_types import PreciseHostname

MAX_PEM_BYTES = 256 * 1024

FilePath = Annotated[str, StringConstraints(max_length=1024, pattern=r"^/[^\x00-\x1f]+$")]


class ClientCertificate(Spec):
    """Files on the host of each proxy that calls, read again when they change. The key never leaves it."""

    certificate: FilePath = Field(description="The PEM certificate, with its chain; an absolute path.")
    private_key: FilePath = Field(description="The PEM key; an absolute path.")


class ExternalTLS(Spec):
    """How proxies open TLS, and which certificates they accept."""

    mode: Literal["Verify", "SkipVerify"] = Field(
        "Verify",
        description="Verify: the certificate must be valid for the name. SkipVerify: anybody may answer.",
    )
    sni: PreciseHostname | Literal[""] = Field(
        "", description="The name to ask for and to verify. Omitted: the host that is called."
    )
    ca: Annotated[str, StringConstraints(max_length=MAX_PEM_BYTES)] = Field(
        "",
        description="PEM certificates that the host's must chain to. Omitted: those of the proxy's host in "
        "/etc/ssl/certs/ca-certificates.crt.",
    )
    min_version: Literal["1.2", "1.3"] = Field("1.2", description="The oldest TLS version to accept.")
    client_certificate: ClientCertificate | None = Field(
        None, description="What the proxy presents, where the host asks for a client certificate."
    )

    @field_validator("min_version", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        """YAML reads 1.2 as a number."""
        return str(value) if isinstance(value, float) else value

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.ca and "-----BEGIN CERTIFICATE-----" not in self.ca:
            raise ValueError("ca holds no PEM certificate")
        if self.ca and self.mode == "SkipVerify":
            raise ValueError("ca has no effect with SkipVerify: leave one of them out")
        return self
