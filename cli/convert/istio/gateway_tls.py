"""TLS of a server of Istio's Gateway, as that of a listener."""

from __future__ import annotations

from meshwright.cli.convert.documents import Document
from meshwright.cli.convert.istio.entry_fields import CLOSING_TLS
from meshwright.cli.convert.istio.scope import Scope
from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies.gateway.tls import CLIENT_CERTIFICATE, MINIMUM_VERSION

_CLIENTS = ("MUTUAL", "OPTIONAL_MUTUAL")
_TERMINATED = ("SIMPLE", *_CLIENTS)


def listener_tls(server: Value, protocol: str, name: str, scope: Scope) -> tuple[str, Document] | None:
    """The protocol and TLS of a server's listener; None, and a remark, if it would accept more than Istio's.

    `name` is for a Certificate of files.
    """
    tls = server.get("tls")
    closing = [(value, why) for field, why in CLOSING_TLS.items() if tls and (value := tls.get(field))]
    for value, why in closing:
        value.problem(f"is not converted: {why}")
    if tls and closing:
        tls.skip()
        return None
    mode = tls.get("mode") if tls else None
    word = mode.string() if mode else ""
    if protocol not in ("HTTPS", "TLS"):
        return protocol, {}
    if word == "PASSTHROUGH":
        return "TLS", {"mode": "Passthrough"}
    if tls is None or word not in _TERMINATED:
        reason = f"is {word!r}, which no listener has" if mode else "has no mode of TLS"
        (mode or tls or server).problem(f"{reason}: the server is left out", below=False)
        return None
    certificates = _certificates(tls, name, scope)
    if not certificates:
        tls.problem("names no certificate: the server is left out", below=False)
        return None
    body: Document = {"mode": "Terminate", "certificateRefs": certificates}
    if options := _options(tls, word):
        body["options"] = options
    if word in _CLIENTS:
        authorities = _authorities(tls, name, certificates[0]["name"], scope)
        body["frontendValidation"] = {"caCertificateRefs": [authorities]}
    return protocol, body


def _certificates(tls: Value, name: str, scope: Scope) -> list[Document]:
    """References to the Certificates, which are made of secrets' names or of files."""
    single = tls.get("credentialName")
    secrets = [*([single] if single else []), *tls.items("credentialNames")]
    result = []
    for secret in secrets:
        text = secret.string().rpartition("/")[2]
        if text and scope.add_once(secret, "Certificate", text, {}):
            secret.note(f"is the Certificate {text}: put {text}.crt and {text}.key into MESH_CERTIFICATES")
            result.append({"group": "meshwright.io", "kind": "Certificate", "name": text})
    certificate, key = tls.text("serverCertificate"), tls.text("privateKey")
    if not secrets and certificate and key:
        files = {"certificateFile": certificate, "privateKeyFile": key}
        if made := scope.add_once(tls, "Certificate", name, files):
            result.append({"group": "meshwright.io", "kind": "Certificate", "name": made})
    return result


def _authorities(tls: Value, name: str, certificate: str, scope: Scope) -> Document:
    """A reference to the CAs of clients; closed if there is no such Certificate."""
    file = tls.text("caCertificates")
    made = f"{name if file else certificate}-cacert"
    scope.add_once(tls, "Certificate", made, {"caFile": file or f"{made}.crt"})
    if not file:
        tls.note(f"has the CAs of clients in the Certificate {made}: put {made}.crt into MESH_CERTIFICATES")
    return {"group": "meshwright.io", "kind": "Certificate", "name": made}


def _options(tls: Value, mode: str) -> dict[str, str]:
    options = {CLIENT_CERTIFICATE: "Optional"} if mode == "OPTIONAL_MUTUAL" else {}
    version = tls.get("minProtocolVersion")
    word = version.string() if version else "TLS_AUTO"
    if word == "TLSV1_3":
        options[MINIMUM_VERSION] = "1.3"
    elif version and word not in ("TLS_AUTO", "TLSV1_2"):
        version.problem(f"is {word}, which is not spoken: 1.2 is the oldest version")
    return options
