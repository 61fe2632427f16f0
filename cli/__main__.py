"""`python -m meshwright.cli`: the same as `mesh`."""

from __future__ import annotations

from meshwright.cli.main import main

main()
