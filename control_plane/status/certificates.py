"""Certificates in files of nodes: whether documents refer to one, and whether the nodes have it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from meshwright.control_plane.api.models.proxies import CertificateReport, ProxyReport
from meshwright.control_plane.policies.backendtlspolicy.spec import BackendTLSPolicy
from meshwright.control_plane.policies.certificate.spec import Certificate
from meshwright.control_plane.policies.gateway.spec import Gateway, Listener

UNUSABLE = frozenset({"missing", "expired"})
"""States of certificates with which no client connects."""


class NodeCertificate(NamedTuple):
    """A certificate as a proxy has it."""

    proxy: str
    report: CertificateReport

    @property
    def text(self) -> str:
        """What is wrong, and where."""
        return f"{self.proxy}: {self.report.message}"


NodeCertificates = Mapping[str, tuple[NodeCertificate, ...]]
"""By gateway or service."""

NO_CERTIFICATES: NodeCertificates = {}


class CertificateProblem(NamedTuple):
    """What is wrong with one reference: its field, a reason of the Gateway API, a sentence."""

    field: str
    reason: str
    message: str


def node_certificates(reports: Iterable[ProxyReport]) -> NodeCertificates:
    """What agents report, by gateway or service."""
    result: dict[str, list[NodeCertificate]] = {}
    for report in reports:
        for certificate in report.certificates:
            for name in certificate.name.split("+"):
                entry = NodeCertificate(report.node, certificate.model_copy(update={"name": name}))
                result.setdefault(report.service, []).append(entry)
    return {
        gateway: tuple(sorted(entries, key=lambda entry: (entry.proxy, entry.report.name)))
        for gateway, entries in result.items()
    }


class CertificateReferences:
    """The certificates of one world. `on_nodes` is what proxies report."""

    def __init__(self, certificates: Mapping[str, Certificate], on_nodes: NodeCertificates) -> None:
        self._certificates = certificates
        self._on_nodes = on_nodes

    def problems(self, gateway: Gateway, listener: Listener) -> list[CertificateProblem]:
        """What is wrong with the certificates of a listener; the field is relative to it."""
        if not listener.speaks_tls or listener.passes_through:
            return []
        return [*self._leaves(gateway, listener), *self._authorities(gateway, listener)]

    def is_usable(self, gateway: Gateway, listener: Listener) -> bool:
        """Whether any client can connect."""
        if not listener.speaks_tls or listener.passes_through:
            return True
        leaves, refs = (
            list(self._leaves(gateway, listener)),
            listener.tls.certificate_refs if listener.tls else (),
        )
        cas = list(self._authorities(gateway, listener))
        validation = gateway.spec.client_validation(listener)
        return len(leaves) < len(refs) and (
            validation is None or len(cas) < len(validation.ca_certificate_refs)
        )

    def authorities(self, policy: BackendTLSPolicy) -> Iterator[CertificateProblem]:
        """What is wrong with the authorities that a host outside must chain to."""
        for index, ref in enumerate(policy.spec.validation.ca_certificate_refs):
            if message := self._reason("", ref.name, ca=True):
                field = f"spec.validation.caCertificateRefs[{index}].name"
                yield CertificateProblem(field, "InvalidCACertificateRef", message)

    def of(self, ref: str) -> list[NodeCertificate]:
        """Where the certificate of the document `Kind/name` is not in order."""
        return [
            entry
            for entries in self._on_nodes.values()
            for entry in entries
            if entry.report.ref == ref and entry.report.state != "valid"
        ]

    def _leaves(self, gateway: Gateway, listener: Listener) -> Iterator[CertificateProblem]:
        refs = listener.tls.certificate_refs if listener.tls else ()
        if not refs:
            message = f"listener {listener.name} has no certificate: connections are closed"
            yield CertificateProblem("tls.certificateRefs", "InvalidCertificateRef", message)
        for index, ref in enumerate(refs):
            if message := self._reason(gateway.name, ref.name, ca=False):
                field = f"tls.certificateRefs[{index}]"
                yield CertificateProblem(field, "InvalidCertificateRef", message)

    def _authorities(self, gateway: Gateway, listener: Listener) -> Iterator[CertificateProblem]:
        validation = gateway.spec.client_validation(listener)
        for index, ref in enumerate(validation.ca_certificate_refs if validation else ()):
            if message := self._reason(gateway.name, ref.name, ca=True):
                field = f"caCertificateRefs[{index}]"
                yield CertificateProblem(field, "InvalidCACertificateRef", message)

    def _reason(self, gateway: str, name: str, *, ca: bool) -> str:
        """Why a reference gives no certificate; empty if it does."""
        certificate = self._certificates.get(name)
        if certificate is None:
            return f"there is no Certificate {name} yet"
        if bool(certificate.files.cas) != ca:
            has, needs = ("no caFile", "one") if ca else ("a caFile", "a certificate with its key")
            return f"Certificate {name} has {has}, and {needs} is needed here"
        entries = [entry for entry in self._on_nodes.get(gateway, ()) if entry.report.name == name]
        return "; ".join(entry.text for entry in entries if entry.report.state in UNUSABLE)
