"""`python -m meshwright.services.payments`."""

from __future__ import annotations

from meshwright.services.kit.server import run
from meshwright.services.payments.app import SERVICE

if __name__ == "__main__":
    run(SERVICE)
