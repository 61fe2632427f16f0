"""`python -m meshwright.services.storefront`."""

from __future__ import annotations

from meshwright.services.kit.server import run
from meshwright.services.storefront.app import SERVICE

if __name__ == "__main__":
    run(SERVICE)
