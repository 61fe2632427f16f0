"""Starts a service's process: its imports first, as fast as they can be.

Imports make some 200,000 objects that stay. Collecting garbage in between finds nothing and takes a sixth of
the second of CPU in which a service starts, so there is none until they are over, and later collections leave
these objects out.
"""

from __future__ import annotations

import gc
from importlib import import_module


def launch(module: str) -> None:
    """Run the `SERVICE` of a module until SIGTERM or SIGINT; exits as `server.run` does."""
    gc.disable()
    service = import_module(module).SERVICE
    run = import_module("meshwright.services.hosting.server").run
    gc.freeze()
    gc.enable()
    run(service)
