"""APIKeyAuthentication: keys of clients for a gateway, a route or a service."""

from __future__ import annotations

import re
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy
from meshwright.control_plane.policies.credential_gate import CredentialGateSpec, check_forwarded_header
from meshwright.control_plane.policies.credential_location import CredentialLocation
from meshwright.control_plane.policies.field_types import HeaderName, check_distinct
from meshwright.control_plane.policies.secret_source import SecretSource

MAX_KEYS = 1000

_LINE = re.compile(r"(?P<client>[A-Za-z0-9][A-Za-z0-9._@-]{0,127}):(?P<key>[A-Za-z0-9._~+/=-]{16,512})")


class Keys(SecretSource):
    """Keys, a line `CLIENT:KEY` each."""

    def check_content(self) -> None:
        """Raise ValueError unless each line is a key."""
        keys = []
        for number, line in enumerate(self.lines(), 1):
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(
                    f"key {number} is not CLIENT:KEY with a key of 16 to 512 letters, digits and ._~+/=-: "
                    "make one with `openssl rand -hex 16`"
                )
            keys.append(match["key"])
        if not 1 <= len(keys) <= MAX_KEYS:
            raise ValueError(f"{len(keys)} keys: give 1 to {MAX_KEYS}")
        if len(set(keys)) < len(keys):
            raise ValueError("a key occurs twice: each belongs to one client")

    def clients(self) -> dict[str, str]:
        """The client of each key. A client may have several, so that a key can be replaced."""
        matches = filter(None, map(_LINE.fullmatch, self.lines()))
        return {match["key"]: match["client"] for match in matches}


class KeyLocation(CredentialLocation):
    """Where a request carries the key. Set one of header, query and cookie."""

    header: HeaderName | Literal[""] = Field(
        "", description="A header. In `Authorization` the key stands behind `Bearer `."
    )


class APIKeyAuthenticationSpec(CredentialGateSpec):
    """Keys, where they are looked for, and what the application learns."""

    keys: Keys = Field(description="The keys, a line `CLIENT:KEY` each. A client may have several.")
    extract_from: tuple[KeyLocation, ...] = Field(
        (KeyLocation(header="x-api-key"),),
        min_length=1,
        max_length=8,
        description="Where requests carry the key: the first place that has one counts. "
        "Default: the header x-api-key.",
    )
    forward_client_id_header: HeaderName | Literal[""] = Field(
        "",
        description="A header with the client's name for the application. What clients send under this name "
        "never reaches the application.",
    )

    @field_validator("forward_client_id_header")
    @classmethod
    def _suitable(cls, header: str) -> str:
        return check_forwarded_header(header)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_distinct((str(place) for place in self.extract_from), "place")
        headers = {place.header.lower() for place in self.extract_from if place.header}
        if self.forward_client_id_header in headers:
            raise ValueError("forwardClientIdHeader carries the key already: use another header")
        return self


class APIKeyAuthentication(TargetedPolicy):
    """Lets requests through only with the key of a client.

    Enforced where JWTAuthentication is: at the gateway for a Gateway, listener or route, by a Service's own
    sidecars for a Service. Where several apply, only keys of all of them pass, in the places that all of them
    name. A refused request gets 401 with the reason and the policies.
    """

    combine: ClassVar[Combine] = "all"
    order: ClassVar[int] = 165
    secret_fields: ClassVar[tuple[str, ...]] = ("keys",)

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["APIKeyAuthentication"] = Field(description="Always APIKeyAuthentication.")
    spec: APIKeyAuthenticationSpec = Field(description="Targets, keys and places.")
