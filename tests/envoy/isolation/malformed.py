"""A seeded generator of unusual and malformed HTTP/1.1 messages.

Each is a valid message with one or two changes: fields, targets, bodies and start lines that HTTP/1 parsers
may accept and HTTP/2 cannot carry, limits that are exceeded, and bytes that are flipped.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

NAMES = (
    *(
        b"X-A",
        b"TE",
        b"Te",
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Connection",
        b"Upgrade",
        b"Trailer",
        b"Host",
    ),
    *(b"Transfer-Encoding", b"Content-Length", b":path", b":status", b":foo", b"", b" X", b"X Y", b"X(Y)"),
    *(b"X\xc3\xbc", b"x!#$%&'*+.^_`|~y", b"HTTP2-Settings", b"Expect", b"Content-Type", b"Cookie"),
    *(b"X-Forwarded-Proto", b"X-Forwarded-For", b"X-Request-Id", b"grpc-timeout", b"grpc-status", b"Date"),
)
VALUES = (
    *(b"", b" ", b"a", b"a,b", b"trailers", b"gzip", b"chunked", b"close, X-A", b"Upgrade", b"h2c", b"foo/1"),
    *(b"\xff\xfe", b"a\tb", b"a\x01b", b"a\x7fb", b"a\x00b", b"a\rb", b"a\n b", b"-1", b"0", b"99999999999"),
    *(b"100-continue", b"AAMAAABkAARAAAAAAAIAAAAA", b"a" * 9_000, b"a" * 70_000, b"; ".join([b"c=1"] * 300)),
)
HOSTS = (b"", b" ", b"a b", b"a@b", b"a,b", b"a/b", b"[::1", b"a:b", b"%zz", b'"', b"\xc3\xbc", b"a" * 300)
METHODS = (
    b"GET",
    b"POST",
    b"HEAD",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PROPFIND",
    b"FOO",
    b"get",
    b"G T",
    b"",
)
PATHS = (
    *(b"/echo", b"/", b"*", b"", b"echo", b"/\xc3\xbc", b'/"<>\\^`{|}', b"/a b", b"/%zz", b"/%00", b"/a#b"),
    *(b"//", b"/..", b"/%2e%2e/", b"?", b"http://", b"https://x/y", b"ftp://x/", b"/" + b"a" * 70_000),
)
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP", b"")
BODIES: tuple[tuple[tuple[bytes, ...], bytes], ...] = (
    ((), b""),
    ((b"Content-Length: 2",), b"ok"),
    ((b"Content-Length: 20",), b"ok"),
    ((b"Content-Length: 1",), b"ok"),
    ((b"Content-Length: 2", b"Content-Length: 3"), b"ok"),
    ((b"Content-Length: 2", b"Transfer-Encoding: chunked"), b"2\r\nok\r\n0\r\n\r\n"),
    ((b"Transfer-Encoding: chunked",), b"2;x=y\r\nok\r\n0\r\nX-T: 1\r\n\r\n"),
    ((b"Transfer-Encoding: chunked",), b"2\r\nok\r\n0\r\nConnection: X-A\r\nContent-Length: 2\r\n\r\n"),
    ((b"Transfer-Encoding: chunked",), b"zz\r\nok\r\n"),
    ((b"Transfer-Encoding: chunked",), b"2\r\nok"),
)
STATUSES = (
    *(b"200 OK", b"200", b"204 No Content", b"205 Reset", b"304 Not Modified", b"100 Continue"),
    *(b"101 Switch", b"103 Early Hints", b"199 ?", b"299 ?", b"426 Upgrade", b"599 ?", b"600 ?", b"999 ?"),
    *(b"099 ?", b"20", b""),
)


def requests(seed: int, host: bytes, prefix: bytes = b"") -> Iterator[bytes]:
    """Endless requests to `host`; `prefix` precedes each path, as callers of a proxy send it."""
    choice = random.Random(seed)  # noqa: S311  repeatable, not a secret
    while True:
        method, path, version = b"GET", b"/echo", b"HTTP/1.1"
        hosts: list[bytes] = [b"Host: " + host]
        (lengths, body), fields = BODIES[0], list[bytes]()
        for kind in choice.sample(("start", "host", "field", "body", "many"), choice.randint(1, 2)):
            if kind == "start":
                part = choice.randrange(3)
                method = choice.choice(METHODS) if part == 0 else method
                path = choice.choice(PATHS) if part == 1 else path
                version = choice.choice(VERSIONS) if part == 2 else version
            elif kind == "host":
                values = choice.sample((*HOSTS, host), choice.randrange(3))
                hosts = [b"Host: " + value for value in values]
            elif kind == "body":
                method, (lengths, body) = choice.choice((b"GET", b"POST")), choice.choice(BODIES)
            else:
                fields = _fields(choice, kind)
        target = path if path.startswith((b"http", b"ftp", b"*")) else prefix + path
        head = [b" ".join((method, target, version)), *hosts, *lengths, *fields]
        yield _damaged(choice, b"\r\n".join(head) + b"\r\n\r\n" + body)


def response(seed: int, number: int) -> bytes:
    """One response of the sequence of `seed`."""
    choice = random.Random(seed * 1_000_003 + number)  # noqa: S311
    status, version, (lengths, body), fields = b"200 OK", b"HTTP/1.1", BODIES[1], list[bytes]()
    for kind in choice.sample(("start", "field", "body", "many"), choice.randint(1, 2)):
        if kind == "start":
            status, version = choice.choice(STATUSES), choice.choice((b"HTTP/1.1", choice.choice(VERSIONS)))
        elif kind == "body":
            lengths, body = choice.choice(BODIES)
        else:
            fields = _fields(choice, kind)
    head = [version + b" " + status, *lengths, *fields]
    return _damaged(choice, b"\r\n".join(head) + b"\r\n\r\n" + body)


def _fields(choice: random.Random, kind: str) -> list[bytes]:
    if kind == "many":
        count = choice.choice((90, 97, 99, 150, 1200))
        return [b"X-%d: %s" % (number, choice.choice((b"1", b"a" * 800))) for number in range(count)]
    return [choice.choice(NAMES) + b": " + choice.choice(VALUES) for _ in range(choice.randint(1, 3))]


def _damaged(choice: random.Random, message: bytes) -> bytes:
    """One time in ten with a byte replaced, one in ten cut off."""
    fate, place = choice.random(), choice.randrange(max(1, min(len(message), 200)))
    if fate < 0.1:
        return message[:place] + bytes([choice.randrange(256)]) + message[place + 1 :]
    return message[:place] if fate < 0.2 else message
