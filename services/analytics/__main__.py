"""`python -m meshwright.services.analytics`."""

from __future__ import annotations

import sys

from meshwright.services.analytics.commands import execute, parse
from meshwright.services.hosting.launch import launch

if __name__ == "__main__":
    if parse(sys.argv[1:]).command is None:
        launch("meshwright.services.analytics.app")
    else:
        sys.exit(execute())
