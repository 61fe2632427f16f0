"""`python -m services.catalog`."""

from __future__ import annotations

from services.catalog.app import ASSEMBLY
from services.kit.server import run

if __name__ == "__main__":
    run(ASSEMBLY)
