"""Command lines of the Python processes that `mesh` starts."""

from __future__ import annotations

import sys


def module_command(module: str, *arguments: str) -> tuple[str, ...]:
    """Run `meshwright.MODULE` with this interpreter.

    `-P` keeps the working directory off the import path: a `cli.py` or `sidecar/` of the user must not
    replace one of our modules. It is an option and not PYTHONSAFEPATH, which the user's apps would inherit.
    """
    return (sys.executable, "-P", "-m", f"meshwright.{module}", *arguments)
