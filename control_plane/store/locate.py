"""Which store a control plane uses: that of its settings, or the embedded one of its state directory."""

from __future__ import annotations

from pathlib import Path

from meshwright.control_plane.config import Settings
from meshwright.control_plane.files import password
from meshwright.control_plane.store import embedded
from meshwright.control_plane.store.root_claim import RootClaim
from meshwright.control_plane.store.store import Store


def store_address(settings: Settings) -> tuple[str, str]:
    """URL and password of the store of the settings."""
    if settings.redis_url:
        file = settings.redis_password_file
        return settings.redis_url, password(Path(file)) if file else ""
    valkey = embedded.locate(settings.state)
    return valkey.url, valkey.password()


def locate_store(settings: Settings, root_claim: RootClaim | None = None) -> Store:
    """The store of the settings, not connected yet."""
    url, secret = store_address(settings)
    store = Store(url, secret, lease_ttl=settings.lease_ttl, idle_ttl=settings.idle_ttl)
    if root_claim is not None:
        store.root_claim = root_claim
    return store
