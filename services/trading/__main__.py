"""`python -m meshwright.services.trading`."""

from __future__ import annotations

from meshwright.services.kit.server import run
from meshwright.services.trading.app import SERVICE

if __name__ == "__main__":
    run(SERVICE)
