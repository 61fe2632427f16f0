"""`Certificate`: names the files with a gateway's certificate and key, or with the CA of its clients."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from meshwright.control_plane.api.node_certificates import CertificateFiles
from meshwright.control_plane.policies.base import Combine, Policy, Spec

MAX_FILE_NAME = 512


def _inside_folder(value: str) -> str:
    if ".." in value.split("/"):
        raise ValueError(
            f"{value!r} leaves the folder of certificates: write an absolute path, or a name in the folder"
        )
    return value


FileName = Annotated[
    str,
    StringConstraints(max_length=MAX_FILE_NAME, pattern=r"^[^\x00-\x1f\x7f]*$"),
    AfterValidator(_inside_folder),
]


class CertificateSpec(Spec):
    """Files on the proxy's node: relative names are in its folder of certificates (MESH_CERTIFICATES)."""

    certificate_file: FileName = Field(
        "", description="PEM file with the certificate and its intermediates. Default: NAME.crt."
    )
    private_key_file: FileName = Field(
        "", description="PEM file with the private key, not encrypted. Default: NAME.key."
    )
    ca_file: FileName = Field(
        "",
        description="PEM file with the CAs of clients, or of hosts outside (BackendTLSPolicy), for "
        "caCertificateRefs. In place of the other two.",
    )

    @model_validator(mode="after")
    def _one_purpose(self) -> Self:
        if self.ca_file and (self.certificate_file or self.private_key_file):
            raise ValueError(
                "caFile verifies clients, certificateFile and privateKeyFile identify the gateway: "
                "write a Certificate for each"
            )
        return self


class Certificate(Policy):
    """A certificate of gateways, or CAs, in PEM files that the agent of each node reads.

    Listeners refer to it in `tls.certificateRefs`; listeners and BackendTLSPolicies in `caCertificateRefs` if
    it has a `caFile`. The
    document holds names of files only: private keys never leave their node. Files that change are in use
    within two seconds, and no connection is closed. Files that cannot be used change nothing, and are
    reported.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 10

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Certificate"] = Field(description="Always Certificate.")
    spec: CertificateSpec = Field(CertificateSpec(), description="The files.")

    @property
    def files(self) -> CertificateFiles:
        """The files with their default names."""
        if self.spec.ca_file:
            return CertificateFiles(self.name, cas=(self.spec.ca_file,))
        certificate = self.spec.certificate_file or f"{self.name}.crt"
        return CertificateFiles(self.name, certificate, self.spec.private_key_file or f"{self.name}.key")
