"""A hundred sidecars that export telemetry, in a separate process so that they do not delay the test.

Reads one line of JSON from stdin: `address`, `roots`, `identities` (PEM pairs by service), `seconds`,
`spans` per second in total, `nodes`. At the end it prints one line: what was sent, and what was refused.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import grpc

from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.telemetry.ingest.queue import Signal
from meshwright.control_plane.telemetry.ingest.server import SERVICES
from tests.control_plane.telemetry.metric_exports import metrics_export
from tests.control_plane.telemetry.span_exports import SpanSpec, span_export
from tests.fakes.pki import Pki, key_pem

FLUSH = 2.0
"""Seconds between two flushes of metrics of one sidecar, as in Envoy."""

EXPORTS = 5.0
"""Exports of spans per second from one sidecar."""

CLUSTERS = 10
TRACE, SPAN = 0x11223344556677881122334455667788, 0x1122334455667788
STATS: dict[str, float | list[int]] = {
    "upstream_rq_total": 100, "upstream_rq_completed": 100, "upstream_rq_2xx": 99, "upstream_rq_5xx": 1,
    "upstream_rq_retry": 1, "upstream_cx_total": 1, "ssl.handshake": 1, "membership_total": 3,
    "upstream_rq_time": [10, 20, 30, 20, 10, 5, 3, 1, 1],
}  # fmt: skip
ATTRIBUTES = {
    "component": "proxy", "node_id": "orders-1", "upstream_cluster": "catalog", "http.protocol": "HTTP/1.1",
    "http.method": "GET", "http.url": "http://catalog/api/catalog/products/seed-plate", "response_flags": "-",
    "http.status_code": "200", "user_agent": "aiohttp/3.14", "guid:x-request-id": "0" * 36,
    "peer.address": "127.0.0.1", "request_size": "0", "response_size": "512", "upstream_address": "127.0.0.1",
}  # fmt: skip


class SpanTemplate:
    """An export of many spans whose IDs are patched for each use: encoding it each time is too slow."""

    def __init__(self, service: str, count: int) -> None:
        spans = [SpanSpec(TRACE, SPAN, SPAN + 1, attributes=ATTRIBUTES) for _ in range(count)]
        self.body = bytearray(span_export(service, spans, base_ms=time.time_ns() // 1_000_000))
        self.count = count
        trace, span = TRACE.to_bytes(16, "big"), SPAN.to_bytes(8, "big")
        self._offsets: list[tuple[int, int]] = []
        at = self.body.find(trace)
        while at >= 0:
            self._offsets.append((at, self.body.index(b"\x12\x08" + span, at + 16) + 2))
            at = self.body.find(trace, at + 16)
        assert len(self._offsets) == count

    def with_new_ids(self) -> bytes:
        """The export with new IDs, ten spans per trace."""
        trace = b""
        for number, (first, second) in enumerate(self._offsets):
            if number % 10 == 0:
                trace = os.urandom(16)
            self.body[first : first + 16] = trace
            self.body[second : second + 8] = os.urandom(8)
        return bytes(self.body)


class Sender:
    """One sidecar; `tally` counts the spans and flushes that were sent, and those that were refused."""

    def __init__(self, setup: dict[str, Any], service: str, number: int, tally: Counter[str]) -> None:
        certificate, key = (identity.encode() for identity in setup["identities"][service])
        credentials = grpc.ssl_channel_credentials(setup["roots"].encode(), key, certificate)
        options = (
            ("grpc.ssl_target_name_override", CONTROL_PLANE_DNS),
            ("grpc.use_local_subchannel_pool", 1),
        )
        channel = grpc.aio.secure_channel(setup["address"], credentials, options)
        self._export = {
            signal: channel.unary_unary(f"/{service_name}/Export", None, None)
            for signal, service_name in SERVICES.items()
        }
        clusters = {f"svc{index}": STATS for index in range(CLUSTERS)}
        self._flush = metrics_export(service, f"{service}-{number}", clusters)
        self._spans = SpanTemplate(service, max(1, round(setup["spans"] / setup["nodes"] / EXPORTS)))
        self._tally = tally

    async def metrics(self, start: float, until: float) -> None:
        """Flush periodically."""
        at = start
        while (at := at + FLUSH) < until:
            await asyncio.sleep(at - time.monotonic())
            await self._send("metrics", self._flush, 1)

    async def spans(self, start: float, until: float) -> None:
        """Export spans periodically; a late export is sent at once, to keep the rate."""
        at = start
        while (at := at + 1 / EXPORTS) < until:
            await asyncio.sleep(at - time.monotonic())
            await self._send("traces", self._spans.with_new_ids(), self._spans.count)

    async def _send(self, signal: Signal, body: bytes, count: int) -> None:
        self._tally[signal] += count
        try:
            await self._export[signal](body, timeout=60)
        except grpc.aio.AioRpcError as error:
            self._tally[f"{signal} {error.code().name}"] += count


async def main() -> None:
    """Send until the time is up."""
    setup = json.loads(sys.stdin.readline())
    tally: Counter[str] = Counter()
    services, nodes = list(setup["identities"]), setup["nodes"]
    senders = [Sender(setup, services[number % len(services)], number, tally) for number in range(nodes)]
    start = time.monotonic()
    until = start + setup["seconds"]
    exports = []
    for number, sender in enumerate(senders):
        phase = number / nodes
        exports += [
            sender.metrics(start - FLUSH * (1 - phase), until),
            sender.spans(start - (1 - phase) / EXPORTS, until),
        ]
    await asyncio.gather(*exports)
    tally["ms"] = int(1000 * (time.monotonic() - start))
    sys.stdout.write(json.dumps(tally) + "\n")


def start(pki: Pki, address: str, *, seconds: float, spans: int, nodes: int = 100) -> subprocess.Popen[str]:
    """Start the process; `finish` waits for its end."""
    identities = {}
    for number in range(10):
        signed, key = pki.svid(f"svc{number}")
        identities[f"svc{number}"] = (signed.certificate, key_pem(key).decode())
    setup = {
        "address": address, "roots": pki.roots.decode(), "identities": identities,
        "seconds": seconds, "spans": spans, "nodes": nodes,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.scale.senders"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(setup) + "\n")
    process.stdin.flush()
    return process


def finish(process: subprocess.Popen[str], within: float) -> Counter[str]:
    """Totals that it sent: `traces` (spans), `metrics` (flushes), and those refused, by status code."""
    try:
        out, _ = process.communicate(timeout=within)
    finally:
        process.kill()
    return Counter(json.loads(out))


if __name__ == "__main__":
    asyncio.run(main())
