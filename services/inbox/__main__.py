"""`python -m meshwright.services.inbox`."""

from __future__ import annotations

from meshwright.services.inbox.app import SERVICE
from meshwright.services.kit.server import run

if __name__ == "__main__":
    run(SERVICE)
