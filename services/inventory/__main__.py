"""`python -m meshwright.services.inventory`."""

from __future__ import annotations

from meshwright.services.inventory.app import SERVICE
from meshwright.services.kit.server import run

if __name__ == "__main__":
    run(SERVICE)
