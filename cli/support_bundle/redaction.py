"""Takes secrets out of text: those that are known, and what looks like one. Pure.

Nothing in the mesh writes a secret to a log or shows one. This is the second line: an app may log its own,
and Envoy or a proxy in between may quote a header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

REDACTED = "[redacted]"

MIN_SECRET = 6
"""Characters of a known secret that is replaced wherever it is; a shorter one is part of other words."""

_QUOTE = r"(?:\\?[\"'])?"

_PATTERNS = (
    # Private keys, also within JSON, where a line end is `\n`.
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        REDACTED,
    ),
    # Password hashes of an htpasswd file.
    (re.compile(r"\{SHA\}[\w+/=]{20,}"), REDACTED),
    # JSON Web Tokens.
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), REDACTED),
    # Credentials of a header: `Authorization: Bearer abc`, `"authorization":"Basic abc"`.
    (re.compile(r"(?i)\b(bearer|basic) +[\w.~+/=-]{6,}"), rf"\1 {REDACTED}"),
    # A password in a URL.
    (re.compile(r"([a-z][a-z0-9+.-]*://[^\s/:@\"']*:)[^\s/@\"']+@", re.I), rf"\1{REDACTED}@"),
    # `password=abc`, `"api_key": "abc"`, `X-Api-Key: abc`.
    (
        re.compile(
            rf"(?i)((?:password|passwd|secret|api[-_]?key|access[-_]?token|client[-_]?secret){_QUOTE}"
            rf"\s*[=:]\s*{_QUOTE})(?!\[redacted|<redacted)([^\s\"'\\,;&}}{{\[\]]{{4,}})"
        ),
        rf"\1{REDACTED}",
    ),
)


class Redaction:
    """Redacts texts. `secrets` are the known ones; those shorter than MIN_SECRET are ignored."""

    def __init__(self, secrets: Iterable[str]) -> None:
        ordered = sorted({text for text in secrets if len(text) >= MIN_SECRET}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def redact(self, text: str) -> str:
        """The text without secrets."""
        if self._secrets is not None:
            text = self._secrets.sub(REDACTED, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text
