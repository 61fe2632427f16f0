"""Who may talk to the admin API, or to the pages of the dashboard: callers with a token, by a name of ours,
from no foreign page.

The Host check stops DNS rebinding (a page whose own name was made to resolve to loopback), the Origin check
stops a page of another site from posting. Both come before the token.
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
"""What a caller may do: everything, or look at what is shown."""


@dataclass(frozen=True, slots=True)
class RequestGuard:
    """`names`: hosts besides loopback that are ours. A port may be any: it may have been forwarded.

    `token` opens everything, `reading` what only shows; `readers` are tokens that open one path each.
    """

    token: str = field(repr=False)
    hosts: frozenset[str] = frozenset()
    read_token: str = field(default="", repr=False)
    path_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)

    def refusal(
        self, headers: Mapping[str, str], path: str = "", *, public: bool, read_only: bool = False
    ) -> RefusalReason | None:
        """What is wrong with a request, None when nothing is.

        What is `public` needs no token; what only `shows` something takes the one that may read, too.
        """
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
        """What the token of a request may do; None for one that is unknown, or opens a path of its own."""
        if _has_bearer_token(headers, self.token):
            return "all"
        return "read" if _has_bearer_token(headers, self.read_token) else None


def _has_bearer_token(headers: Mapping[str, str], token: str) -> bool:
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    return tokens_equal(given.strip(), token) and scheme.lower() == "bearer"


def tokens_equal(given: str, token: str) -> bool:
    """Whether somebody gave the token, compared in constant time; never for an empty one."""
    equal = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())
    return equal and bool(token)


def _host_name(host: str) -> str:
    """The name of a Host header without its port; empty when it is malformed."""
    if any(mark in host for mark in "/@?#\\ "):
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
