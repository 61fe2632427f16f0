"""`python -m meshwright.services.analytics`."""

from __future__ import annotations

import sys

from meshwright.services.analytics.app import SERVICE
from meshwright.services.analytics.commands import execute, parse
from meshwright.services.kit.server import run

if __name__ == "__main__":
    if parse(sys.argv[1:]).command is None:
        run(SERVICE)
    else:
        sys.exit(execute())
