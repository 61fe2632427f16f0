"""`python -m meshwright.services.inventory`."""

from __future__ import annotations

from meshwright.services.hosting.launch import launch

if __name__ == "__main__":
    launch("meshwright.services.inventory.app")
