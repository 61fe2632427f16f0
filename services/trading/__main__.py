"""`python -m meshwright.services.trading`."""

from __future__ import annotations

from meshwright.services.kit.launch import launch

if __name__ == "__main__":
    launch("meshwright.services.trading.app")
