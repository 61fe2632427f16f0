"""`python -m services.trading`."""

from __future__ import annotations

from services.kit.server import run
from services.trading.app import ASSEMBLY

if __name__ == "__main__":
    run(ASSEMBLY)
