"""`python -m meshwright.services.analytics`."""

from __future__ import annotations

from meshwright.services.analytics.app import SERVICE
from meshwright.services.kit.server import run

if __name__ == "__main__":
    run(SERVICE)
