"""How control planes announce themselves to each other in the store."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Protocol

from pydantic import Field, ValidationError

from meshwright.control_plane.api.models.base import ApiModel


class Announcement(ApiModel):
    """Where a control plane listens: `xds` is host:port, `admin` a URL."""

    xds: str = Field(max_length=300)
    admin: str = Field("", max_length=300)


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
