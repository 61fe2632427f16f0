"""`python -m services.inventory`."""

from __future__ import annotations

from services.inventory.app import ASSEMBLY
from services.kit.server import run

if __name__ == "__main__":
    run(ASSEMBLY)
