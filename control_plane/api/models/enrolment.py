"""Enrolment and certificate renewal: a signing request and the SVID issued for it."""

from __future__ import annotations

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel


class SignRequest(ApiModel):
    """A PEM certificate signing request, at most 16 KiB. `token` is set only at enrolment."""

    csr: str = Field(max_length=16384)
    token: str = Field("", max_length=4096)


class SignResponse(ApiModel):
    """An SVID: the PEM chain (leaf first) and the PEM trust bundle that verifies peers."""

    certificate: str
    bundle: str
