"""`python -m meshwright.services.legacy`."""

from __future__ import annotations

from meshwright.services.kit.server import run
from meshwright.services.legacy.app import SERVICE

if __name__ == "__main__":
    run(SERVICE)
