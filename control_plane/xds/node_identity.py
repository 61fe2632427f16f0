"""Checks what an Envoy says about itself in its first request against its certificate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, cast

from pydantic import TypeAdapter, ValidationError

from meshwright.control_plane.api.models.base import LabelValue
from meshwright.control_plane.api.spiffe import Identity, valid_name
from meshwright.control_plane.core import caller_check
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.errors import PermissionDeniedError
from meshwright.control_plane.policies.gateway.edge import EdgeSettings

MAX_GATEWAY_LISTENERS = 64
"""Listeners of one gateway (Gateway API's own limit for `spec.listeners`)."""

PORT_OPTIONS = ("--port", "--listener")
"""Options by which an operator chooses the ports of a gateway."""

MAX_UPSTREAMS = 64
"""TCP services that one sidecar may listen for."""

MAX_EDGE_SETTINGS = 8192
"""Characters of a gateway's settings; 64 networks take some 3000."""

_LABEL_VALUE: TypeAdapter[str] = TypeAdapter(LabelValue)


@dataclass(frozen=True, slots=True)
class Peer:
    """The client of a stream. `node` is unique only among the peers of one identity.

    `enrolment`: that of its certificate (see `callers`). `port_option`: the option by which the ports of a
    gateway were chosen, such as `--port`.
    """

    identity: Identity
    node: str
    bindings: Bindings
    enrolment: str = ""
    port_option: str = ""


def authorize_node(identity: Identity, node: v3.Node) -> Peer:
    """The peer of a stream; raises PermissionDeniedError when the node contradicts the certificate.

    The certificate alone decides what is served. The node's own fields are checked so that a sidecar that
    was started with another sidecar's bootstrap fails with a clear error.
    """
    if identity.role not in ("service", "gateway"):
        raise PermissionDeniedError(f"{identity.uri} is not the identity of a proxy")
    if node.cluster != identity.name:
        raise PermissionDeniedError(
            f"node.cluster is {node.cluster[:63]!r}, but the certificate is {identity.uri}"
        )
    if not valid_name(node.id):
        raise PermissionDeniedError(f"node.id is {node.id[:63]!r}: use a DNS label (a-z, 0-9, -)")
    return Peer(identity, node.id, _bindings(node), port_option=_port_option(node))


def _bindings(node: v3.Node) -> Bindings:
    """`metadata.bindings`; a field that is missing or has another type gets its default."""
    fields = _fields(node.metadata, "bindings")
    gateway = _fields(node.metadata.fields["bindings"].struct_value, "gateway") if fields else {}
    if len(gateway) > MAX_GATEWAY_LISTENERS:
        raise PermissionDeniedError(
            f"node.metadata.bindings.gateway has more than {MAX_GATEWAY_LISTENERS} listeners"
        )
    address = fields["address"].string_value if "address" in fields else ""
    return Bindings(
        address=_address(address or "127.0.0.1"),
        outbound=_port(fields, "outbound"),
        inbound=_port(fields, "inbound"),
        gateway=tuple(sorted((name, _port(gateway, name)) for name in gateway)),
        upstreams=_upstreams(node),
        zone=_zone(node.locality.zone),
        tracing="tracing" in fields and fields["tracing"].bool_value,
        request_log="requestLog" in fields and fields["requestLog"].bool_value,
        span_log="spanLog" in fields and fields["spanLog"].bool_value,
        secret_hash=_secret_hash(fields["secretHash"].string_value) if "secretHash" in fields else "",
        edge=_edge(fields["edge"].string_value) if "edge" in fields else EdgeSettings(),
        outside=_outside(fields["outside"].string_value) if "outside" in fields else "",
    )


def _port_option(node: v3.Node) -> str:
    """`metadata.bindings.portOption`, shown as it is."""
    fields = _fields(node.metadata, "bindings")
    text = fields["portOption"].string_value if "portOption" in fields else ""
    return text if text in PORT_OPTIONS else ""


def _secret_hash(text: str) -> str:
    if caller_check.HASH.fullmatch(text) is None:
        raise PermissionDeniedError("node.metadata.bindings.secretHash is not the Base64 of a SHA-1 digest")
    return text


def _edge(text: str) -> EdgeSettings:
    try:
        return EdgeSettings.model_validate_json(text[:MAX_EDGE_SETTINGS])
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise PermissionDeniedError(f"node.metadata.bindings.edge: {reason[:200]}") from None


def _outside(text: str) -> Literal["", "allow", "deny"]:
    if text not in ("", "allow", "deny"):
        raise PermissionDeniedError(f"node.metadata.bindings.outside: {text[:63]!r} is not allow or deny")
    return cast("Literal['', 'allow', 'deny']", text)


def _upstreams(node: v3.Node) -> tuple[tuple[str, str, int], ...]:
    """`metadata.bindings.upstreams`: where the node listens for each TCP service it calls, as `ip:port`."""
    fields = _fields(node.metadata, "bindings")
    addresses = fields["upstreams"].struct_value.fields if "upstreams" in fields else {}
    if len(addresses) > MAX_UPSTREAMS:
        raise PermissionDeniedError(
            f"node.metadata.bindings.upstreams has more than {MAX_UPSTREAMS} services"
        )
    upstreams = []
    for name, value in sorted(addresses.items()):
        host, _, port = value.string_value.rpartition(":")
        if not all(map(valid_name, name.split(":", 1))) or not port.isascii() or not port.isdigit():
            raise PermissionDeniedError(
                f"node.metadata.bindings.upstreams: {name[:63]!r} needs a name and an ip:port"
            )
        if not 1 <= int(port[:6]) <= 65535:
            raise PermissionDeniedError(
                f"node.metadata.bindings.upstreams: {name[:63]!r} has no port from 1 to 65535"
            )
        upstreams.append((name, _address(host.strip("[]")), int(port)))
    return tuple(upstreams)


def _fields(struct: v3.Struct, name: str) -> Mapping[str, v3.Value]:
    return struct.fields[name].struct_value.fields if name in struct.fields else {}


def _port(fields: Mapping[str, v3.Value], name: str) -> int:
    number = fields[name].number_value if name in fields else 0.0
    if not 0 <= number <= 65535 or number != int(number):
        raise PermissionDeniedError(f"node.metadata.bindings: {name[:63]!r} is not a port from 1 to 65535")
    return int(number)


def _zone(text: str) -> str:
    try:
        return _LABEL_VALUE.validate_python(text)
    except ValidationError:
        raise PermissionDeniedError(f"node.locality.zone: {text[:63]!r} is not a valid label value") from None


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise PermissionDeniedError(
            f"node.metadata.bindings.address: {text[:63]!r} is not an IP address"
        ) from None
