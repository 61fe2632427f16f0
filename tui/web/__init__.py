"""The dashboard in a browser: textual-serve's terminal, on pages that load nothing from other hosts."""

SERVER_PID_ENV = "DASH_SERVER"
"""Environment variable with the pid of the web server: its dashboards exit when it does."""
