"""`python -m meshwright.services.nfts`."""

from __future__ import annotations

from meshwright.services.kit.server import run
from meshwright.services.nfts.app import SERVICE

if __name__ == "__main__":
    run(SERVICE)
