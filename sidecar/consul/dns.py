"""Consul's DNS on loopback: `orders.service.consul`, `v1.orders.service.consul`, `orders.mesh`, A and SRV.

An answer leads where lookups by HTTP lead: to the address and port at which this host reaches the service.
There is one answer for a service, not one for each instance: balancing is the sidecar's. Other names are
refused, so this is no resolver; one that forwards these domains is needed for applications that use plain
names. All addresses are IPv4, so a name that exists has no AAAA record; like every negative answer, that one
carries the domain's SOA record (RFC 2308), and resolvers do not take it for a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable, Iterable

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import structlog

from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.sidecar.consul.callers import ClientSocket

MAX_QUERIES = 256
"""Queries that are answered at the same time; more are dropped, and clients ask again."""

MIN_PAYLOAD = 512
"""Bytes that a client takes by UDP if it does not say (RFC 1035)."""

MAX_MESSAGE = 65_535

MAX_CONNECTIONS = 64
TCP_IDLE = 10.0
"""Seconds after which a silent TCP connection is closed."""

TTL = 0
"""Seconds that an answer may be kept: none, as in Consul."""

log = structlog.get_logger(__name__)

SOA = "ns hostmaster 1 3600 600 86400 0"
"""Of each domain: Consul's times, of which only the last matters, seconds for negative answers."""

Locate = Callable[[str, str, ClientSocket], Awaitable[tuple[str, int] | None]]
"""Where a client reaches the instances of a service with a tag (empty: all); None if nothing leads there."""


class NameResolver:
    """Answers queries about names in `domains`."""

    def __init__(self, domains: Iterable[str], locate: Locate) -> None:
        self._domains = [dns.name.from_text(domain) for domain in domains]
        self._locate = locate

    async def answer(self, wire: bytes, client: ClientSocket) -> bytes | None:
        """The response to a query of a client; None for what is not one."""
        try:
            query = dns.message.from_wire(wire)
            if query.flags & dns.flags.QR:
                return None
            response = await self._respond(query, client)
            size = max(query.payload, MIN_PAYLOAD) if client.protocol == "udp" else MAX_MESSAGE
            return fitting(query, response, size)
        except (dns.exception.DNSException, ValueError, struct.error):
            return None

    async def _respond(self, query: dns.message.Message, client: ClientSocket) -> dns.message.Message:
        response = dns.message.make_response(query)
        if query.edns > 0:
            response.set_rcode(dns.rcode.BADVERS)
            return response
        if len(query.question) != 1 or query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
            return response
        question = query.question[0]
        domain = next((item for item in self._domains if question.name.is_subdomain(item)), None)
        if domain is None or question.rdclass != dns.rdataclass.IN:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        response.flags |= dns.flags.AA
        try:
            await self._fill(response, question, domain, client)
        except (UnreachableError, ApiError, ValueError) as error:
            log.warning("a name cannot be resolved", name=str(question.name), reason=str(error))
            response.set_rcode(dns.rcode.SERVFAIL)
            return response
        if not response.answer:
            response.authority.append(_soa(domain))
        return response

    async def _fill(
        self,
        response: dns.message.Message,
        question: dns.rrset.RRset,
        domain: dns.name.Name,
        client: ClientSocket,
    ) -> None:
        """Add the records of a name in a domain."""
        if question.name == domain:
            if question.rdtype in (dns.rdatatype.SOA, dns.rdatatype.ANY):
                response.answer.append(_soa(domain))
            return
        service, tag = parse_name(question.name.relativize(domain))
        address = await self._locate(service, tag, client) if service else None
        if address is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
            return
        host, port = address
        target = dns.name.from_text(service, domain)
        if question.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY):
            response.answer.append(_record(question.name, dns.rdatatype.A, host))
        elif question.rdtype == dns.rdatatype.SRV:
            response.answer.append(_record(question.name, dns.rdatatype.SRV, f"1 1 {port} {target}"))
            response.additional.append(_record(target, dns.rdatatype.A, host))


def parse_name(name: dns.name.Name) -> tuple[str, str]:
    """The service and the tag in a name below a domain, in lower case; empty: none.

    `orders`, `v1.orders`, and as in RFC 2782 `_orders._tcp` and `_orders._v1`. A tag may contain dots.
    """
    labels = [label.decode("ascii", "replace").lower() for label in name.labels]
    if len(labels) == 2 and all(label.startswith("_") for label in labels):
        service, tag = labels[0][1:], labels[1][1:]
        return service, "" if tag == "tcp" else tag
    return labels[-1], ".".join(labels[:-1])


def fitting(query: dns.message.Message, response: dns.message.Message, size: int) -> bytes:
    """The response; if it is larger, what says that the client is to ask by TCP (RFC 2181, 9)."""
    with contextlib.suppress(dns.exception.TooBig):
        return response.to_wire(max_size=size)
    truncated = dns.message.make_response(query)
    truncated.set_rcode(response.rcode())
    truncated.flags |= dns.flags.AA | dns.flags.TC
    return truncated.to_wire()


def _soa(domain: dns.name.Name) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(
        domain, TTL, dns.rdataclass.IN, dns.rdatatype.SOA, [SOA], origin=domain, relativize=False
    )


def _record(name: dns.name.Name, kind: dns.rdatatype.RdataType, text: str) -> dns.rrset.RRset:
    return dns.rrset.from_text(name, TTL, dns.rdataclass.IN, kind, text)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, resolver: NameResolver) -> None:
        self._resolver = resolver
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(self._tasks) < MAX_QUERIES:
            task = asyncio.create_task(self._reply(data, addr))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reply(self, data: bytes, peer: tuple[str, int]) -> None:
        response = await self._resolver.answer(data, ClientSocket("udp", peer[1]))
        if response is not None and self._transport is not None:
            self._transport.sendto(response, peer)


class DnsServer:
    """UDP and TCP at one port of one address."""

    def __init__(self, resolver: NameResolver) -> None:
        self._resolver = resolver
        self._connections = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, host, port)
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._resolver), local_addr=(host, port)
        )

    def close(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        client = ClientSocket(
            "tcp", writer.get_extra_info("peername")[1], writer.get_extra_info("sockname")[1]
        )
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                while self._connections <= MAX_CONNECTIONS:
                    async with asyncio.timeout(TCP_IDLE):
                        (size,) = struct.unpack("!H", await reader.readexactly(2))
                        response = await self._resolver.answer(await reader.readexactly(size), client)
                        if response is None:
                            return
                        writer.write(struct.pack("!H", len(response)) + response)
                        await writer.drain()
        finally:
            self._connections -= 1
            writer.close()
