"""`python -m meshwright.services.orders`."""

from __future__ import annotations

from meshwright.services.kit.server import run
from meshwright.services.orders.app import SERVICE

if __name__ == "__main__":
    run(SERVICE)
