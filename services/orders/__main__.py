"""`python -m services.orders`."""

from __future__ import annotations

from services.kit.server import run
from services.orders.app import ASSEMBLY

if __name__ == "__main__":
    run(ASSEMBLY)
