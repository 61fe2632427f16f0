"""The release that this process runs.

It is read once, at the import: after an installation of another release, the files say that one while the
process still runs the code that it has loaded.
"""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("meshwright")
