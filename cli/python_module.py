"""Command lines of the Python processes that `mesh` starts, and of `mesh` itself."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def module_command(module: str, *arguments: str) -> tuple[str, ...]:
    """Run `meshwright.MODULE` with this interpreter.

    `-P` keeps the working directory off the import path: a `cli.py` or `sidecar/` of the user must not
    replace one of our modules. It is an option and not PYTHONSAFEPATH, which the user's apps would inherit.
    """
    return (sys.executable, "-P", "-m", f"meshwright.{module}", *arguments)


def mesh_command() -> str:
    """How a user runs this `mesh` from the working directory: by its name, or by a path if PATH lacks it."""
    script = Path(sys.executable).with_name("mesh")
    on_path = shutil.which("mesh")
    if not script.is_file() or (on_path and Path(on_path).resolve() == script.resolve()):
        return "mesh"
    below = os.path.relpath(script)
    return str(script) if below.startswith(os.pardir) else below
