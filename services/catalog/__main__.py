"""`python -m meshwright.services.catalog`."""

from __future__ import annotations

from meshwright.services.catalog.app import SERVICE
from meshwright.services.kit.server import run

if __name__ == "__main__":
    run(SERVICE)
