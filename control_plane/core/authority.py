"""The ingress answers 400 to a request without exactly one valid authority (RFC 9112, section 3.2).

Envoy rejects some invalid characters itself. It lets an empty `Host` pass, and joins several with commas.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshwright.control_plane.envoy import v3

STATUS = 400
REASON = "a request needs exactly one Host header, with a valid host name and port\n"

_NAME = r"(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+"
_IP_LITERAL = r"\[(?:(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]{0,15}|[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~:-]+)\]"
_PORT = r"0*(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"

PATTERN = rf"(?:{_NAME}|{_IP_LITERAL})(?::(?:{_PORT})?)?"
"""`uri-host [ ":" port ]` (RFC 9110, section 7.2; RFC 3986, section 3.2.2), in RE2's syntax.

A comma is valid in a name, but here it means that there were two headers."""


def checked(hosts: Iterable[v3.VirtualHost]) -> list[v3.VirtualHost]:
    """The virtual hosts of an ingress with the check as their first route, and one for all other names."""
    virtual_hosts = list(hosts)
    if not any("*" in host.domains for host in virtual_hosts):
        virtual_hosts.append(v3.VirtualHost(name="*", domains=["*"]))
    for host in virtual_hosts:
        host.routes.insert(0, _refusal())
    return virtual_hosts


def _refusal() -> v3.Route:
    valid = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=PATTERN))
    # An absent header counts as an empty one, which is invalid too.
    invalid = v3.HeaderMatcher(
        name=":authority", string_match=valid, invert_match=True, treat_missing_header_as_empty=True
    )
    return v3.Route(
        name="invalid-authority",
        match=v3.RouteMatch(prefix="/", headers=[invalid]),
        direct_response=v3.DirectResponseAction(status=STATUS, body=v3.DataSource(inline_string=REASON)),
    )
