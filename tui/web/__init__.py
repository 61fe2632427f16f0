"""The dashboard in a browser: textual-serve's terminal on pages that load nothing from elsewhere."""

SERVER_PID_ENV = "DASH_SERVER"
"""The variable by which a dashboard behind a page knows the process that serves it, and ends with it."""
