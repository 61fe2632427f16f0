"""Access control for the admin API and for the dashboard's web pages: Host, Origin and bearer token.

The Host check stops DNS rebinding (a page whose own name resolves to loopback), the Origin check stops a page
of another site from posting. Both come before the token.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

RefusalReason = Literal["host", "origin", "token", "rights"]

Rights = Literal["all", "read"]
"""What a token permits: everything, or read-only routes."""


@dataclass(frozen=True, slots=True)
class RequestGuard:
    """`hosts`: accepted host names besides loopback, with any port (it may have been forwarded).

    `token` permits everything, `read_token` read-only routes, each of `path_tokens` one path.
    """

    token: str = field(repr=False)
    hosts: frozenset[str] = frozenset()
    read_token: str = field(default="", repr=False)
    path_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)

    def refusal(
        self, headers: Mapping[str, str], path: str = "", *, public: bool, read_only: bool = False
    ) -> RefusalReason | None:
        """Why a request is refused, or None. `public` routes need no token, `read_only` ones any of ours."""
        host = headers.get("Host", "")
        if _host_name(host) not in LOOPBACK | self.hosts:
            return "host"
        origin = headers.get("Origin")
        if origin is not None and origin.lower() not in {f"http://{host.lower()}", f"https://{host.lower()}"}:
            return "origin"
        rights = self.rights(headers)
        if public or rights == "all" or _has_bearer_token(headers, self.path_tokens.get(path, "")):
            return None
        if rights is None:
            return "token"
        return None if read_only else "rights"

    def rights(self, headers: Mapping[str, str]) -> Rights | None:
        """What the request's token permits; None for an unknown token, or one for a single path."""
        if _has_bearer_token(headers, self.token):
            return "all"
        return "read" if _has_bearer_token(headers, self.read_token) else None


def _has_bearer_token(headers: Mapping[str, str], token: str) -> bool:
    scheme, _, credentials = headers.get("Authorization", "").partition(" ")
    return tokens_equal(credentials.strip(), token) and scheme.lower() == "bearer"


def tokens_equal(presented: str, token: str) -> bool:
    """Compare in constant time; an empty `token` equals nothing."""
    equal = hmac.compare_digest(presented.encode("utf-8", "surrogateescape"), token.encode())
    return equal and bool(token)


def _host_name(host: str) -> str:
    """The name in a Host header without its port; empty if the header is malformed."""
    if any(mark in host for mark in "/@?#\\ "):
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
