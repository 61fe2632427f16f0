"""TLS at a gateway: certificates, client certificates and versions (Gateway API v1 `ListenerTLSConfig`,
`GatewayTLSConfig`)."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field, field_validator

from meshwright.control_plane.policies.base import ObjectName, Spec
from meshwright.control_plane.policies.field_types import NoNamespace, PortNumber

OPTION_DOMAIN = "meshwright.io/"
MINIMUM_VERSION = f"{OPTION_DOMAIN}minimum-version"
CLIENT_CERTIFICATE = f"{OPTION_DOMAIN}client-certificate"

TlsVersion: TypeAlias = Literal["1.2", "1.3"]
ClientMode: TypeAlias = Literal["Required", "Optional", "Insecure"]
"""Whether clients need a certificate. Optional: none, or a valid one. Insecure: none, or any."""

OPTIONS = {MINIMUM_VERSION: ("1.2", "1.3"), CLIENT_CERTIFICATE: ("Required", "Optional")}
"""The options that the mesh knows, with their values, the default first."""

_MODES: dict[str, ClientMode] = {"AllowValidOnly": "Required", "AllowInsecureFallback": "Insecure"}


class CertificateRef(Spec):
    """A Certificate document. The kind that a cluster would use means the document of that name as well."""

    group: Literal["", "meshwright.io"] = Field(
        "", description="Empty or meshwright.io; it makes no difference."
    )
    kind: Literal["Certificate", "Secret"] = Field(
        "Secret", description="Certificate; Secret, the default, means the Certificate of this name."
    )
    namespace: NoNamespace = Field("", description="Empty or the Gateway's own: a mesh has one namespace.")
    name: ObjectName = Field(description="The Certificate.")


class CaCertificateRef(Spec):
    """A Certificate document with a `caFile`."""

    group: Literal["", "meshwright.io"] = Field(
        "", description="Empty or meshwright.io; it makes no difference."
    )
    kind: Literal["Certificate", "ConfigMap", "Secret"] = Field(
        "Certificate", description="Certificate; the others mean the Certificate of this name."
    )
    namespace: NoNamespace = Field("", description="Empty or the Gateway's own: a mesh has one namespace.")
    name: ObjectName = Field(description="The Certificate.")


class FrontendTLSValidation(Spec):
    """Which client certificates are valid."""

    ca_certificate_refs: tuple[CaCertificateRef, ...] = Field(
        min_length=1, max_length=8, description="The CAs that sign client certificates."
    )
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = Field(
        "AllowValidOnly",
        description="AllowValidOnly closes connections without a valid certificate. AllowInsecureFallback "
        "accepts them with any or none, and the app hears of no client certificate.",
    )

    @property
    def client_mode(self) -> ClientMode:
        """The mode in one word."""
        return _MODES[self.mode]


class FrontendTLSConfig(Spec):
    """What applies to the listeners of a port or to all."""

    validation: FrontendTLSValidation | None = Field(
        None, description="Clients need a certificate. Omitted: they need none."
    )


class TLSPortConfig(Spec):
    """What applies to the HTTPS listeners of one port."""

    port: PortNumber = Field(description="The port.")
    tls: FrontendTLSConfig = Field(description="What applies there, in place of the default.")


class FrontendTLS(Spec):
    """Client certificates, by port."""

    default: FrontendTLSConfig = Field(
        FrontendTLSConfig(), description="For HTTPS listeners on ports without an entry."
    )
    per_port: tuple[TLSPortConfig, ...] = Field((), max_length=64, description="For single ports.")

    @field_validator("per_port")
    @classmethod
    def _distinct_ports(cls, entries: tuple[TLSPortConfig, ...]) -> tuple[TLSPortConfig, ...]:
        ports = [entry.port for entry in entries]
        if len(set(ports)) < len(ports):
            raise ValueError("a port occurs twice: keep one entry of each")
        return entries

    def at(self, port: int) -> FrontendTLSValidation | None:
        """What applies to a port."""
        entry = next((entry.tls for entry in self.per_port if entry.port == port), self.default)
        return entry.validation


class GatewayTLS(Spec):
    """TLS of a whole gateway."""

    frontend: FrontendTLS = Field(FrontendTLS(), description="Towards clients.")
    backend: dict[str, Any] | None = Field(None, description="Must be absent.")

    @field_validator("backend")
    @classmethod
    def _no_backend(cls, value: dict[str, Any] | None) -> None:
        if value is not None:
            raise ValueError(
                "gateways identify themselves to services by the mesh's own mutual TLS: leave it out"
            )


class ListenerTLS(Spec):
    """TLS of a listener."""

    mode: Literal["Terminate", "Passthrough"] = Field(
        "Terminate",
        description="Terminate: TLS ends at the gateway. Passthrough, for protocol TLS: it ends at the app, "
        "and the gateway reads the host name only.",
    )
    certificate_refs: tuple[CertificateRef, ...] = Field(
        (),
        max_length=64,
        description="For Terminate: the certificates. Of several the gateway uses the one for the requested "
        "host name and the client's kind of key.",
    )
    frontend_validation: FrontendTLSValidation | None = Field(
        None,
        description="As in spec.tls.frontend, for this listener alone (experimental in Gateway API 1.1).",
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        max_length=16,
        description=f"{MINIMUM_VERSION}: 1.2 (default) or 1.3. {CLIENT_CERTIFICATE}: Optional accepts "
        "clients without a certificate, but none that is not valid. Options of other domains are ignored.",
    )

    @field_validator("options")
    @classmethod
    def _known_options(cls, options: dict[str, str]) -> dict[str, str]:
        for name, value in options.items():
            if name in OPTIONS and value not in OPTIONS[name]:
                raise ValueError(f"{name} is {value!r}: use {' or '.join(OPTIONS[name])}")
            if name.startswith(OPTION_DOMAIN) and name not in OPTIONS:
                raise ValueError(f"{name} is no option: the mesh has {' and '.join(OPTIONS)}")
        return options

    @property
    def minimum_version(self) -> TlsVersion:
        """The oldest version of TLS that is spoken."""
        return "1.3" if self.options.get(MINIMUM_VERSION) == "1.3" else "1.2"

    @property
    def clients_optional(self) -> bool:
        """Whether clients may have no certificate."""
        return self.options.get(CLIENT_CERTIFICATE) == "Optional"
