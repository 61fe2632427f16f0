"""Meshwright: a service mesh you can pip install.

`__version__` is the installed release. `Client` is the typed client of the admin API; it is loaded on first
use, so that `import meshwright` stays quick.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any

__all__ = ["Client", "__version__"]

__version__ = metadata.version("meshwright")


def __getattr__(name: str) -> Any:
    """Load the client when it is first used: it imports pydantic and aiohttp."""
    if name == "Client":
        return importlib.import_module("meshwright.control_plane.api.client").Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
