"""`python -m services.analytics`."""

from __future__ import annotations

from services.analytics.app import ASSEMBLY
from services.kit.server import run

if __name__ == "__main__":
    run(ASSEMBLY)
