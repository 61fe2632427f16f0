"""Why a proxy responds in place of the app: what the body of the response and `mesh why` say."""

from __future__ import annotations

from dataclasses import dataclass

BODY = "mesh: %LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)"
"""The format of a body, in Envoy's access log format."""


def body_with_policies(metadata: str) -> str:
    """The format of a body that names the policies in force, by `metadata` of the route, `FILTER:KEY`."""
    return f"mesh: %LOCAL_REPLY_BODY%: refused by %METADATA(ROUTE:{metadata})% (%RESPONSE_CODE_DETAILS%)"


@dataclass(frozen=True, slots=True)
class Reason:
    """What `text` explains: responses whose details begin with one of `details`, if `only_if` holds (CEL).

    An empty `text` keeps Envoy's own in the body, an empty `body` the response as it is. `status` replaces
    Envoy's, 0 keeps it. `headers` are set in the response; their values and `body` are in Envoy's access log
    format. `causes` are more exact texts for `mesh why`, by a part of the details.
    """

    details: tuple[str, ...]
    text: str = ""
    only_if: str = ""
    status: int = 0
    body: str = BODY
    headers: tuple[tuple[str, str], ...] = ()
    causes: tuple[tuple[str, str], ...] = ()

    def explain(self, details: str) -> str:
        """The text for these details."""
        return next((text for part, text in self.causes if part in details), self.text)
