"""The form of all ids."""

from __future__ import annotations

ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""All ids: safe in a path, in a log line and in any database."""
