"""How control planes announce themselves to each other in the store."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Annotated, Protocol

from pydantic import AfterValidator, Field, ValidationError

from meshwright.control_plane.api.hosts import valid_host
from meshwright.control_plane.api.models.base import ApiModel


def _check_address(text: str) -> str:
    """`text`, if it is empty or a `host:port`; raises ValueError."""
    if text:
        host, _, port = text.rpartition(":")
        valid_host(host.removeprefix("[").removesuffix("]"))
        if not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535:
            raise ValueError(f"{text[:63]!r} has no port from 1 to 65535")
    return text


def _check_url(text: str) -> str:
    """`text`, if it is empty or a plain `http://host:port`; raises ValueError."""
    scheme, separator, address = text.partition("://")
    if text and (not separator or scheme not in ("http", "https")):
        raise ValueError(f"{text[:63]!r} is not a URL")
    _check_address(address if re.search(r":\d+$", address) or not address else f"{address}:80")
    return text


class Announcement(ApiModel):
    """Where a control plane listens: `xds` is host:port, `admin` a URL. `version` is its release.

    Others connect there. Whoever can write to the store chooses the address, but nothing is sent before the
    peer has shown a certificate of a control plane of this mesh.
    """

    xds: Annotated[str, AfterValidator(_check_address)] = Field(max_length=300)
    admin: Annotated[str, AfterValidator(_check_url)] = Field("", max_length=300)
    version: str = Field("", max_length=64)


class AnnouncementStore(Protocol):
    """Announcements in the store. Both raise StoreError if it cannot be reached."""

    async def announce(self, id: str, text: str) -> Mapping[str, str]:
        """Write or renew an announcement; returns those of all others by id."""

    async def withdraw(self, id: str) -> None:
        """Delete the announcement."""


def parse_announcements(texts: Mapping[str, str]) -> dict[str, Announcement]:
    """Valid announcements by id, in a fixed order; invalid ones are ignored."""
    announcements = {}
    for id, text in sorted(texts.items()):
        with contextlib.suppress(ValidationError):
            announcements[id] = Announcement.model_validate_json(text)
    return announcements
