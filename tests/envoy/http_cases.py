"""Cases of HTTP through a mesh: responses that pass, and requests that a proxy refuses."""

from __future__ import annotations

FORGED = (
    *("x-client-ip", "cf-connecting-ip", "cf-visitor", "client-ip", "http-client-ip", "x-true-client-ip"),
    *("fly-client-ip", "do-connecting-ip", "x-vercel-forwarded-for", "x-nf-client-connection-ip", "x-host"),
    *("x-cluster-client-ip", "x-remote-addr", "x-original-url", "front-end-https", "x-forwarded-ssl"),
    *("client-cert", "client-cert-chain", "ssl-client-verify", "x-ssl-client-cert", "x-client-cert"),
)
"""Headers by which proxies in front of a gateway say who the client is."""

END = "Connection: close\r\n\r\n"
MANY = "".join(f"X-{n}: v\r\n" for n in range(1100))
LARGE = f"X-Big: {'b' * 70_000}\r\n"

RESPONSES = [
    ("HTTP/1.1 200 OK\nserver: mine\ncontent-length: 2\n\nok", 200, "server: mine\r\n"),
    ("HTTP/1.1 204 No Content\n\n", 204, ""),
    (
        "HTTP/1.1 304 Not Modified\ncontent-length: 10\netag: x\n\n",
        304,
        "content-length: 10\r\netag: x\r\n",
    ),
    ("HTTP/1.1 103 Early Hints\nlink: a\n\nHTTP/1.1 200 OK\ncontent-length: 0\n\n", 200, "HTTP/1.1 103 "),
    ("HTTP/1.1 299 Odd\ncontent-length: 2\n\nok", 299, "ok"),
    ("HTTP/1.1 599 Odd\ncontent-length: 2\n\nok", 599, "ok"),
    ("HTTP/1.0 200 OK\n\nold", 200, "old"),
    (
        "HTTP/1.1 200 OK\nset-cookie: a=1\nset-cookie: b=2\nvia: x\ncontent-length: 0\n\n",
        200,
        "set-cookie: a=1\r\nset-cookie: b=2\r\nvia: x\r\n",
    ),
    (
        "HTTP/1.1 200 OK\ndate: Mon, 01 Jan 2001 00:00:00 GMT\n\n",
        200,
        "date: Mon, 01 Jan 2001 00:00:00 GMT",
    ),
    ("HTTP/1.1 200 OK\nx-empty:\ncontent-length: 0\n\n", 200, "x-empty: \r\n"),
    (
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\ntrailer: x-t\n\n2\nok\n0\nx-t: v\n\n",
        200,
        "0\r\nx-t: v\r\n\r\n",
    ),
    (f"HTTP/1.1 200 OK\n{''.join(f'x-{n}: v{chr(10)}' for n in range(950))}\n", 200, "x-949: v\r\n"),
]
"""(what the app sends, status, a part of what the client receives)."""

REFUSALS = [
    ("ingress", f"GET /a%2Fb HTTP/1.1\r\nHost: h\r\n{END}", 400, "set paths: Keep of the Gateway"),
    ("ingress", f"GET /a HTTP/1.1\r\nHost: h\r\nx_a: b\r\n{END}", 400, "set underscoreHeaders: Keep"),
    ("ingress", f"FOO /a HTTP/1.1\r\nHost: h\r\n{END}", 400, "the request is not valid HTTP"),
    ("ingress", f"GET /a HTTP/1.1\r\nHost: h\r\n{MANY}{END}", 431, "more headers than the mesh's limit"),
    ("ingress", f"GET /a HTTP/1.1\r\nHost: h\r\n{LARGE}{END}", 431, "larger than the mesh's limit"),
    (
        "outbound",
        f"GET http://raw/ HTTP/1.1\r\nHost: raw\r\n{MANY}{END}",
        431,
        "more headers than the mesh's",
    ),
    ("outbound", f"GET http://raw/ HTTP/1.1\r\nHost: raw\r\n{LARGE}{END}", 431, "larger than the mesh's"),
    ("outbound", f"GET / HTTP/1.1\r\n{END}", 400, "the request names no host"),
    (
        "outbound",
        f"OPTIONS * HTTP/1.1\r\nHost: raw\r\n{END}",
        404,
        "the target of the request is not a path",
    ),
    (
        "outbound",
        f"GET http://raw/#f HTTP/1.1\r\nHost: raw\r\n{END}",
        400,
        "the path contains a fragment",
    ),
    ("outbound", f"GET http://raw:9/ HTTP/1.1\r\nHost: raw:9\r\n{END}", 404, "no HTTP port"),
    ("outbound", f"GET http://no.mesh/ HTTP/1.1\r\nHost: no.mesh\r\n{END}", 404, "no service"),
    (
        "outbound",
        f"GET http://nobody/ HTTP/1.1\r\nHost: nobody\r\n{END}",
        404,
        "no service",
    ),
    ("outbound", f"CONNECT raw:443 HTTP/1.1\r\nHost: raw:443\r\n{END}", 405, "cannot route HTTPS"),
    (
        "outbound",
        f"GET http://localhost:1/ HTTP/1.1\r\nHost: localhost:1\r\n{END}",
        403,
        "loopback address",
    ),
]
"""(proxy, request, status, a part of the reason)."""
