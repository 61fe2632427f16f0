"""Ways to get past rules of an Authorization, of which none may work: BANS refuse each of them."""

from __future__ import annotations

from meshwright.control_plane.policies.authorization.in_force import OVERRIDE_HEADERS

TRICKS = {
    "double slash": "GET //admin HTTP/1.1",
    "dot segment": "GET /x/../admin HTTP/1.1",
    "escaped dots": "GET /x/%2e%2e/admin HTTP/1.1",
    "escaped slash": "GET /x%2fadmin HTTP/1.1",
    "escaped letter": "GET /%61dmin HTTP/1.1",
    "escaped twice": "GET /%2561dmin HTTP/1.1",
    "parameter": "GET /admin;x HTTP/1.1",
    "parameter of a dot segment": "GET /x/..;/admin HTTP/1.1",
    "backslash": "GET /\\admin HTTP/1.1",
    "cut short": "GET /admin%00 HTTP/1.1",
    "mixed case": "GET /AdMin HTTP/1.1",
    "slash at the end": "GET /admin/ HTTP/1.1",
    "a byte that is not UTF-8": "GET /admin;\xff HTTP/1.1",
    "absolute form": "GET http://back/admin HTTP/1.1",
    "absolute form of another host": "GET http://other/admin HTTP/1.1",
    "absolute form without a path": "GET http://back?/admin HTTP/1.1\r\nx-role: banned",
    "doubled host": "GET /admin HTTP/1.1\r\nHost: other",
    "no path at all": "OPTIONS * HTTP/1.1\r\nx-role: banned",
    **{
        f"method override by {header}": f"POST /x HTTP/1.1\r\n{header}: {method}"
        for header, method in zip(OVERRIDE_HEADERS, ("DELETE", "delete", "PUT, DELETE"), strict=True)
    },
    "doubled method override": "POST /x HTTP/1.1\r\nX-HTTP-Method: PUT\r\nx-http-method: DELETE",
    "method in lower case": "delete /x HTTP/1.1",
    "doubled header": "GET /x HTTP/1.1\r\nx-role: user\r\nX-Role: banned",
    "doubled header, first": "GET /x HTTP/1.1\r\nx-role: banned\r\nX-Role: \xff",
    "list in a header": "GET /x HTTP/1.1\r\nx-role: user, banned",
    "WebSocket": "GET /admin HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "forged host in XFH": "GET /admin HTTP/1.1\r\nx-forwarded-host: other\r\nx-original-url: /x",
}
GET = {":method": "GET", ":scheme": "http", ":authority": "back", ":path": "/admin"}
HTTP2_TRICKS: dict[str, list[tuple[str, str]]] = {
    **{
        path: [*{**GET, ":path": path}.items()]
        for path in ("/admin", "//admin", "/x/../admin", "/x/%2e%2e/admin", "/x%2fadmin", "/%61dmin",
                     "/AdMin", "/admin/", "/admin;x", "/admin#x", "/admin?x", "/admin\t", "admin", "", "http://back/admin")
    },
    "two paths": [*{**GET, ":path": "/x"}.items(), (":path", "/admin")],
    "two paths, first": [*GET.items(), (":path", "/x")],
    "two methods": [*{**GET, ":path": "/x"}.items(), (":method", "DELETE")],
    "path behind a header": [(":method", "GET"), (":scheme", "http"), (":authority", "back"), ("x-a", "1"),
                             (":path", "/admin")],
    "method in lower case": [*{**GET, ":path": "/x", ":method": "delete"}.items()],
    "method override": [*{**GET, ":path": "/x"}.items(), ("x-http-method-override", "DELETE")],
    "header in upper case": [*{**GET, ":path": "/x"}.items(), ("X-Role", "banned")],
    "doubled header": [*{**GET, ":path": "/x"}.items(), ("x-role", "user"), ("x-role", "banned")],
    "no authority": [(":method", "GET"), (":scheme", "http"), (":path", "/admin"), ("host", "back")],
    "another host": [*GET.items(), ("host", "other")],
    "two authorities": [*GET.items(), (":authority", "other")],
    "a made-up pseudo-header": [*GET.items(), (":path-info", "/x")],
    "a pseudo-header in a header's name": [*{**GET, ":path": "/x"}.items(), (":x-role", "banned")],
    "another scheme": [*{**GET, ":scheme": "https"}.items()],
    "extended CONNECT": [*{**GET, ":method": "CONNECT", ":protocol": "websocket"}.items()],
    "CONNECT": [(":method", "CONNECT"), (":authority", "back:80"), (":path", "/admin"), (":scheme", "http")],
}  # fmt: skip
HOST_TRICKS = (
    "Banned.example.com",
    "banned.example.com.",
    "banned.example.com:80",
    "BANNED.EXAMPLE.COM.:8080",
)
NO_ADMIN = {"name": "no-admin", "action": "deny", "to": [{"paths": [{"value": "/admin"}]}]}
BANS = (
    NO_ADMIN,
    {"action": "deny", "to": [{"methods": ["DELETE"]}]},
    {"action": "deny", "to": [{"headers": [{"name": "x-role", "value": "banned"}]}]},
    {"action": "deny", "to": [{"hosts": ["banned.example.com"]}]},
)
