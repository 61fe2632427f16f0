"""`python -m meshwright.services.legacy`."""

from __future__ import annotations

import sys

from meshwright.services.kit.server import run
from meshwright.services.legacy.app import SERVICE
from meshwright.services.legacy.commands import execute, parse

if __name__ == "__main__":
    options = parse(sys.argv[1:])
    if options.command is None:
        run(SERVICE)
    else:
        sys.exit(execute(options))
