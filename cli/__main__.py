"""`python -m cli`: the same as `mesh`."""

from __future__ import annotations

from cli.main import main

main()
