"""`python -m meshwright.services.users`."""

from __future__ import annotations

import sys

from meshwright.services.kit.server import run
from meshwright.services.users.app import SERVICE
from meshwright.services.users.commands import execute, parse

if __name__ == "__main__":
    options = parse(sys.argv[1:])
    if options.command is None:
        run(SERVICE)
    else:
        sys.exit(execute(options))
