"""A probe of authorization, against a real server at the socket of the caller's Envoy."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from meshwright.control_plane.api import probes, trials
from meshwright.control_plane.api.models.authorization import ProbeAnswer, ProbeRequest
from meshwright.sidecar.access_probe import send_probe


async def test_probe_goes_marked_to_the_instance_as_it_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    socket, seen = tmp_path_factory.mktemp("p") / "s", []

    async def respond(request: web.Request) -> web.Response:
        seen.append(request)
        marked = {probes.HEADER: "allowed"} if request.method == "PUT" else {}
        return web.Response(
            status=probes.STATUS if marked else 403, headers=marked, text="" if marked else "no"
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()

    async def probe(method: str) -> ProbeAnswer:
        request = ProbeRequest(
            cluster="back:grpc",
            address="10.0.0.1:15006",
            method=method,
            host="Back.",
            path="/a/%2e%2e/b?c=1",
            headers=(("x-a", "1"), ("x-a", "2")),
        )
        return ProbeAnswer.model_validate_json(await send_probe(socket, request.model_dump_json()))

    try:
        assert await probe("PUT") == ProbeAnswer(status=204, allowed=True)
        assert await probe("GET") == ProbeAnswer(status=403, allowed=False, text="no")
    finally:
        await runner.cleanup()
    headers = seen[0].headers
    assert (seen[0].raw_path, headers["host"], headers.getall("x-a")) == (
        "/a/%2e%2e/b?c=1",
        "Back.",
        ["1", "2"],
    )
    assert headers[trials.CLUSTER_HEADER] == "back:grpc"
    assert headers[trials.INSTANCE_HEADER] == trials.session("10.0.0.1:15006")
    assert probes.HEADER in headers


async def test_without_envoy_a_probe_fails_in_words(tmp_path: Path) -> None:
    request = ProbeRequest(cluster="back", address="10.0.0.1:1", method="GET", host="back", path="/")
    with pytest.raises(OSError, match="does not answer the probe"):
        await send_probe(tmp_path / "none", request.model_dump_json())
