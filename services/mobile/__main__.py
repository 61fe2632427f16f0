"""`python -m meshwright.services.mobile`."""

from __future__ import annotations

from meshwright.services.kit.server import run
from meshwright.services.mobile.app import SERVICE

if __name__ == "__main__":
    run(SERVICE)
