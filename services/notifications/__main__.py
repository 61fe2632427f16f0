"""`python -m meshwright.services.notifications`."""

from __future__ import annotations

from meshwright.services.kit.server import run
from meshwright.services.notifications.app import SERVICE

if __name__ == "__main__":
    run(SERVICE)
