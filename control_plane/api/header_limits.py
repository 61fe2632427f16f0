"""The mesh's limits on the headers of a request or response, the request line included.

The first proxy that receives a message enforces them. The next one has room for the headers that proxies add
(forwarding, tracing, the caller's certificate), so a message that passed one hop passes the next.
"""

from __future__ import annotations

MAX_HEADERS, MAX_KIB = 1000, 256
"""Headers, and KiB of all names and values. Common servers accept between 8 KiB and 1 MiB; Envoy's defaults,
100 headers and 60 KiB, are below what some of them send."""

MAX_HEADERS_INSIDE, MAX_KIB_INSIDE = 1100, 320
"""The limits of every hop but the first."""
