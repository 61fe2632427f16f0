"""`python -m services.storefront`."""

from __future__ import annotations

from services.kit.server import run
from services.storefront.app import ASSEMBLY

if __name__ == "__main__":
    run(ASSEMBLY)
