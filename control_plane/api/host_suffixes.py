"""The domains of the mesh: `orders` is also `orders.mesh`, and has a name in each domain of MESH_DOMAINS."""

from __future__ import annotations

import re
from typing import TypeAlias

Domains: TypeAlias = tuple[str, ...]

DOMAIN = "mesh"
"""The domain that every mesh has."""

DOMAINS: Domains = (DOMAIN,)

MAX_DOMAINS = 8
"""Each makes every service's hosts that much longer."""

MAX_LENGTH = 200
"""Characters of a domain: DNS has 253 for domain and service together."""

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_PATTERN = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def parse_domains(text: str) -> Domains:
    """The domains of a setting, `mesh` among them; raises ValueError for one that is none."""
    domains = [part.strip().strip(".").lower() for part in text.split(",")]
    for domain in domains:
        if len(domain) > MAX_LENGTH or not _PATTERN.fullmatch(domain):
            raise ValueError(f"{domain!r} is not a domain such as service.consul")
    distinct = tuple(dict.fromkeys((DOMAIN, *domains)))
    if len(distinct) > MAX_DOMAINS:
        raise ValueError(f"{len(distinct)} domains are more than {MAX_DOMAINS}")
    return distinct


def host_names(service: str, domains: Domains) -> tuple[str, ...]:
    """The names by which callers know a service."""
    return (service, *(f"{service}.{domain}" for domain in domains))


def service_in(host: str, domains: Domains = DOMAINS) -> str:
    """The service that a host of the mesh names, without port and domain; any other host as it is."""
    name = host.partition(":")[0]
    endings = (f".{domain}" for domain in domains if name.endswith(f".{domain}"))
    return name.removesuffix(max(endings, key=len, default=""))


def mesh_name_pattern(domains: Domains) -> str:
    """A regular expression for every host in one of the domains, whether there is such a service or not."""
    names = "|".join(map(re.escape, domains))
    return rf"(?i)[^:]*\.{f'(?:{names})' if len(domains) > 1 else names}\.?(?::.*)?"
