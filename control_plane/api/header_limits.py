"""The mesh's limits on the headers of a request or response, the request line included.

The first proxy that receives a message enforces them. The next one has room for the headers that proxies add
(forwarding, tracing, the caller's certificate), so a message that passed one hop passes the next.
"""

from __future__ import annotations

MAX_HEADERS, MAX_KIB = 1000, 60
"""Headers, and KiB of all names and values. Envoy's default is 100 headers, which some apps exceed. HTTP/2
between sidecars has no room for a value of more than 64 KiB: nghttp2 ends the connection of all calls."""

MAX_HEADERS_INSIDE, MAX_KIB_INSIDE = 1100, 80
"""The limits of every hop but the first."""
