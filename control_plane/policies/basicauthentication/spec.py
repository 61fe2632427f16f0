"""BasicAuthentication: names and passwords for a gateway, a route or a service."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, field_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy
from meshwright.control_plane.policies.credential_gate import CredentialGateSpec, check_forwarded_header
from meshwright.control_plane.policies.field_types import HeaderName, check_distinct
from meshwright.control_plane.policies.secret_source import SecretSource

MAX_USERS = 1000

_LINE = re.compile(r"(?P<user>[^:\s\x00-\x1f\x7f]{1,128}):\{SHA\}(?P<hash>[A-Za-z0-9+/]{27}=)")


class Users(SecretSource):
    """Users as `htpasswd -s` writes them, a line `name:{SHA}...` each."""

    def check_content(self) -> None:
        """Raise ValueError unless each line is a user's."""
        names = []
        for number, line in enumerate(self.lines(), 1):
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(
                    f"user {number} is not NAME:{{SHA}}HASH: write the file with `htpasswd -s`, "
                    "the only format that Envoy knows"
                )
            names.append(match["user"])
        if not 1 <= len(names) <= MAX_USERS:
            raise ValueError(f"{len(names)} users: give 1 to {MAX_USERS}")
        check_distinct(names, "user")

    def hashes(self) -> dict[str, str]:
        """The hash of each user's password, base64 of SHA-1."""
        matches = filter(None, map(_LINE.fullmatch, self.lines()))
        return {match["user"]: match["hash"] for match in matches}


class BasicAuthenticationSpec(CredentialGateSpec):
    """Users, and what the application learns."""

    users: Users = Field(description="The users, in the format of `htpasswd -s`.")
    realm: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[ !#-$&-\[\]-~]+$")] = (
        Field("mesh", description="What a browser shows when it asks for the password.")
    )
    forward_username_header: HeaderName | Literal[""] = Field(
        "",
        description="A header with the user's name for the application. What clients send under this name "
        "never reaches the application.",
    )

    @field_validator("forward_username_header")
    @classmethod
    def _suitable(cls, header: str) -> str:
        return check_forwarded_header(header)


class BasicAuthentication(TargetedPolicy):
    """Lets requests through only with the name and password of a user (RFC 7617).

    For small gates: passwords are stored as unsalted SHA-1, the only format that Envoy reads. Enforced where
    JWTAuthentication is: at the gateway for a Gateway, listener or route, by a Service's own sidecars for a
    Service. Where several apply, only users of all of them with the same password pass. A refused request
    gets 401 with the reason and the policies.
    """

    combine: ClassVar[Combine] = "all"
    order: ClassVar[int] = 155
    secret_fields: ClassVar[tuple[str, ...]] = ("users",)

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["BasicAuthentication"] = Field(description="Always BasicAuthentication.")
    spec: BasicAuthenticationSpec = Field(description="Targets and users.")
