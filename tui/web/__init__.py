"""The dashboard in a browser: textual-serve's terminal on pages that load nothing from elsewhere."""

SERVER = "DASH_SERVER"
"""The variable by which a dashboard behind a page knows the process that serves it, and ends with it."""
