"""The dashboard in a browser: textual-serve's terminal on pages that load nothing from elsewhere."""
