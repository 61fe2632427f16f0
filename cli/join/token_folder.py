"""A folder with a join token for each service that a host may enrol, in files of their names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meshwright.cli.join.setup import read_token
from meshwright.control_plane.api import join_token
from meshwright.control_plane.api.join_token import JoinTokenClaims
from meshwright.control_plane.errors import InputError


@dataclass(frozen=True, slots=True)
class TokenFolder:
    """The folder; files whose names begin with a dot are no tokens."""

    path: Path

    def any_claims(self) -> JoinTokenClaims:
        """The claims of one of the tokens, which all name the same CA. Raises InputError."""
        try:
            files = sorted(file for file in self.path.iterdir() if not file.name.startswith("."))
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {(error.strerror or 'error').lower()}") from None
        if not files:
            raise InputError(
                f"{self.path}: it has no tokens: create some by `mesh token create --service NAME --out NAME`"
            )
        return self._claims(files[0])

    def read(self, service: str) -> str:
        """The token of a service; raises ValueError if there is none for it."""
        file = self.path / service
        if not file.is_file():
            raise ValueError(
                f"this host has no join token for service {service}: the mesh's operator creates one by "
                f"`mesh token create --service {service}` for {file}"
            )
        identity = self._claims(file).identity
        if (identity.role, identity.name) != ("service", service):
            raise ValueError(f"{file}: this token is for {identity.role} {identity.name}, not for {service}")
        return read_token(file)

    def _claims(self, file: Path) -> JoinTokenClaims:
        try:
            return join_token.parse_unverified(read_token(file))
        except ValueError as error:
            raise InputError(f"{file}:1:1: {error}: create one with `mesh token create`") from None
