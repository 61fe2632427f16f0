"""The rules of the rows of authorization: they are compared with each request and let it pass."""

from __future__ import annotations

from meshwright.control_plane.policies.authorization.spec import AuthorizationSpec

RULES = (2, 50)
"""Numbers of rules, half of them deny rules: all of these are evaluated."""


def rules(number: int) -> AuthorizationSpec:
    """This many rules, of which one matches."""
    half = number // 2
    deny = [
        {
            "action": "deny",
            "from": [{"services": [f"caller-{number}"]}],
            "to": [{"methods": ["GET"], "paths": [{"value": f"/closed/{number}"}]}],
        }
        for number in range(half)
    ]
    allow = [
        {"from": [{"services": [f"caller-{number}"]}], "to": [{"paths": [{"value": f"/open/{number}"}]}]}
        for number in range(half - 1)
    ]
    return AuthorizationSpec.model_validate({"rules": [*deny, *allow, {"to": [{"methods": ["GET"]}]}]})
