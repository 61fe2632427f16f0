"""`python -m meshwright.services.orders`."""

from __future__ import annotations

import sys

from meshwright.services.kit.server import run
from meshwright.services.orders.app import SERVICE
from meshwright.services.orders.commands import execute, parse

if __name__ == "__main__":
    options = parse(sys.argv[1:])
    if options.command is None:
        run(SERVICE)
    else:
        sys.exit(execute(options))
