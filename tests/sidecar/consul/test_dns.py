"""DNS of the registry: which names lead where, over UDP and TCP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.api.errors import UnreachableError
from meshwright.sidecar.consul.callers import ClientSocket
from meshwright.sidecar.consul.dns import DnsServer, NameResolver, fitting
from tests.fakes.ports import free_port


async def locate(service: str, tag: str, _client: ClientSocket) -> tuple[str, int] | None:
    if service == "away":
        raise UnreachableError("127.0.0.1:1", "refused")
    return ("127.10.0.7", 8000) if service == "orders" and tag in ("", "canary", "eu.west") else None


CLIENT = ClientSocket("udp", 1)
RESOLVER = NameResolver(("service.consul", "mesh"), locate)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    number = free_port()
    server = DnsServer(RESOLVER)
    await server.start("127.0.0.1", number)
    yield number
    server.close()


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        ("orders.service.consul", "A", "NOERROR", ["127.10.0.7"]),
        ("ORDERS.mesh", "A", "NOERROR", ["127.10.0.7"]),
        ("orders.mesh", "ANY", "NOERROR", ["127.10.0.7"]),
        ("orders.service.consul", "SRV", "NOERROR", ["1 1 8000 orders.service.consul."]),
        ("_orders._tcp.mesh", "SRV", "NOERROR", ["1 1 8000 orders.mesh."]),
        ("orders.mesh", "AAAA", "NOERROR", []),
        ("orders.mesh", "TXT", "NOERROR", []),
        ("canary.orders.service.consul", "A", "NOERROR", ["127.10.0.7"]),
        ("Canary.orders.service.consul", "AAAA", "NOERROR", []),
        ("canary.orders.service.consul", "SRV", "NOERROR", ["1 1 8000 orders.service.consul."]),
        ("eu.west.orders.mesh", "A", "NOERROR", ["127.10.0.7"]),
        ("_orders._canary.service.consul", "SRV", "NOERROR", ["1 1 8000 orders.service.consul."]),
        ("_orders._v1.service.consul", "SRV", "NXDOMAIN", []),
        ("canary.users.mesh", "AAAA", "NXDOMAIN", []),
        ("_._.mesh", "SRV", "NXDOMAIN", []),
        ("mesh", "A", "NOERROR", []),
        ("mesh", "SOA", "NOERROR", ["ns.mesh. hostmaster.mesh. 1 3600 600 86400 0"]),
        ("users.mesh", "A", "NXDOMAIN", []),
        ("v1.orders.service.consul", "A", "NXDOMAIN", []),
        ("orders.example.com", "A", "REFUSED", []),
        ("away.mesh", "A", "SERVFAIL", []),
    ],
)
async def test_a_name_leads_to_its_service(
    port: int, name: str, kind: str, code: str, answers: list[str]
) -> None:
    query = dns.message.make_query(name, kind, use_edns=True)
    for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
        response = await ask(query, "127.0.0.1", port=port, timeout=60)
        assert dns.rcode.to_text(response.rcode()) == code
        assert [record.to_text() for records in response.answer for record in records] == answers
        additional = [record.to_text() for records in response.additional for record in records]
        assert additional == (["127.10.0.7"] if kind == "SRV" and answers else [])
        owners = [str(records.name) for records in response.authority if records.rdtype == dns.rdatatype.SOA]
        domain = "service.consul." if name.endswith("consul") else "mesh."
        assert owners == ([] if answers or code in ("REFUSED", "SERVFAIL") else [domain])


def test_what_does_not_fit_a_datagram_says_so() -> None:
    query = dns.message.make_query("orders.mesh", "TXT", use_edns=True)
    response = dns.message.make_response(query)
    texts = [f'"{number:0>250}"' for number in range(4)]
    response.answer.append(dns.rrset.from_text("orders.mesh.", 0, "IN", "TXT", *texts))
    short = dns.message.from_wire(fitting(query, response, 512))
    assert short.flags & dns.flags.TC
    assert (short.id, short.question, short.answer) == (query.id, query.question, [])
    assert not dns.message.from_wire(fitting(query, response, 65_535)).flags & dns.flags.TC


async def test_another_version_of_edns_is_refused(port: int) -> None:
    query = dns.message.make_query("orders.mesh", "A", use_edns=1)
    response = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=60)
    assert (response.rcode(), response.answer) == (dns.rcode.BADVERS, [])


async def test_a_connection_serves_several_queries_and_ends_with_garbage(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    query = dns.message.make_query("orders.mesh", "A").to_wire()
    for _ in range(2):
        writer.write(len(query).to_bytes(2, "big") + query)
        size = int.from_bytes(await reader.readexactly(2), "big")
        assert dns.message.from_wire(await reader.readexactly(size)).answer
    writer.write(b"\x00\x03abc")
    assert await reader.read() == b""
    writer.close()


@given(st.binary(max_size=200))
def test_no_message_breaks_it(wire: bytes) -> None:
    asyncio.run(RESOLVER.answer(wire, CLIENT))


async def test_a_response_is_not_answered() -> None:
    response = dns.message.make_response(dns.message.make_query("orders.mesh", "A"))
    assert await RESOLVER.answer(response.to_wire(), CLIENT) is None
