"""Meshwright: a service mesh you can pip install.

`__version__` is the installed release. `Client` is the typed client of the admin API; it is loaded on first use,
so that `import meshwright` stays quick.
"""

from __future__ import annotations

from importlib import metadata

__version__ = metadata.version("meshwright")
