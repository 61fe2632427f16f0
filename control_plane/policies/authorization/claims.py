"""Claims of verified tokens as principals of Envoy's RBAC filter.

The JWT filter keeps the claims of each token in dynamic metadata, under a key for each issuer of each policy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.authorization.matches import ClaimMatch

JWT_FILTER = "envoy.filters.http.jwt_authn"

_WORD_LISTS = ("scope", "scp")
"""Claims that hold words in one string (RFC 8693, section 4.2)."""

_BOOLEANS = {"true": True, "false": False}


def has_claim(claim: ClaimMatch, tokens: Sequence[str]) -> v3.Principal | None:
    """Callers with the claim in one of the tokens; None if no token can have it."""
    keys = [key for key in tokens if not claim.issuer or key.partition("/")[2] == claim.issuer]
    ids = [_metadata([key, *claim.name.split(".")], value) for key in keys for value in _values(claim)]
    if not ids:
        return None
    return ids[0] if len(ids) == 1 else v3.Principal(or_ids=v3.Principal.Set(ids=ids))


def _values(claim: ClaimMatch) -> list[v3.ValueMatcher]:
    matchers = []
    texts = "|".join(map(re.escape, claim.values))
    regex = rf"(?:\C* )?(?:{texts})(?: \C*)?" if claim.name in _WORD_LISTS else texts
    if len(claim.values) == 1 and claim.name not in _WORD_LISTS:
        matchers.append(v3.ValueMatcher(string_match=v3.StringMatcher(exact=claim.values[0])))
    else:
        string = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=regex))
        matchers.append(v3.ValueMatcher(string_match=string))
    matchers += [v3.ValueMatcher(bool_match=_BOOLEANS[text]) for text in claim.values if text in _BOOLEANS]
    lists = [v3.ValueMatcher(list_match=v3.ListMatcher(one_of=matcher)) for matcher in matchers]
    return [*matchers, *lists]


def _metadata(path: Sequence[str], value: v3.ValueMatcher) -> v3.Principal:
    principal = v3.Principal()
    matcher = principal.sourced_metadata.metadata_matcher
    matcher.filter = JWT_FILTER
    for key in path:
        matcher.path.add().key = key
    matcher.value.CopyFrom(value)
    return principal
