"""`python -m meshwright.services.legacy`."""

from __future__ import annotations

import sys

from meshwright.services.hosting.launch import launch
from meshwright.services.legacy.commands import execute, parse

if __name__ == "__main__":
    options = parse(sys.argv[1:])
    if options.command is None:
        launch("meshwright.services.legacy.app")
    else:
        sys.exit(execute(options))
