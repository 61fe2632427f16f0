"""Meshwright: a service mesh you can pip install.

`__version__` is the installed release, and `Client` the typed client of the admin API. Both are loaded on
first use, because every `mesh` command imports this package.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    """Load what is used: importlib.metadata, or the client with pydantic and aiohttp."""
    if name == "__version__":
        from importlib.metadata import version

        return version("meshwright")
    if name == "Client":
        from meshwright.control_plane.api.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
