"""Timeout: how long a request may take."""
