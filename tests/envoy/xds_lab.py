"""One real Envoy connected to the xDS server, with hand-made configuration."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import envoy  # type: ignore[import-untyped]

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.api.state_dir import BUNDLE_FILE, IDENTITY_FILE, socket_path
from meshwright.control_plane.core import outbound as core_outbound
from meshwright.control_plane.core import shared_filters
from meshwright.control_plane.core.resource import CDS, EDS, RDS, VHDS, Resource, ads_source, encode
from meshwright.control_plane.core.views import ListenerSettings
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.server import XdsServer
from meshwright.sidecar import bootstrap, svid
from tests.fakes.pki import DOMAIN, Pki
from tests.fakes.ports import free_port
from tests.fakes.snapshot import HandMadeNode, HandMadeSnapshot

PATIENCE = 30.0
ENVOY = os.environ.get("MESH_ENVOY") or str(Path(envoy.__file__).with_name("_bin") / "envoy")
Table = dict[tuple[str, str], Resource]


def outbound(port: int) -> Resource:
    """An HTTP proxy with on-demand hosts and clusters."""
    return core_outbound.listener("127.0.0.1", port, ListenerSettings("lab"))


def out_routes(timeout_ms: int = 50) -> Resource:
    """The route configuration that fetches its hosts on demand."""
    source = ads_source()
    source.initial_fetch_timeout.FromMilliseconds(timeout_ms)
    return encode(RDS, "out", v3.RouteConfiguration(name="out", vhds=v3.Vhds(config_source=source)))


def service(name: str, port: int, connect_timeout: int = 1) -> tuple[Resource, Resource]:
    """A plain HTTP/1 cluster and its one endpoint on loopback."""
    cluster = v3.Cluster(
        name=name,
        type=v3.Cluster.EDS,
        eds_cluster_config=v3.Cluster.EdsClusterConfig(eds_config=ads_source()),
        connect_timeout=v3.Duration(seconds=connect_timeout),
    )
    address = v3.Address(socket_address=v3.SocketAddress(address="127.0.0.1", port_value=port))
    endpoint = v3.LbEndpoint(endpoint=v3.Endpoint(address=address))
    assignment = v3.ClusterLoadAssignment(
        cluster_name=name, endpoints=[v3.LocalityLbEndpoints(lb_endpoints=[endpoint])]
    )
    return encode(CDS, name, cluster), encode(EDS, name, assignment)


def virtual_host(
    name: str, *clusters: str, declare_clusters: bool = True, regex: str = "", mirror: str = ""
) -> Resource:
    """`out/NAME` for hosts NAME and NAME.mesh, an even split over the clusters."""
    action = v3.RouteAction(
        weighted_clusters=v3.WeightedCluster(
            clusters=[
                v3.WeightedCluster.ClusterWeight(name=cluster, weight=v3.UInt32Value(value=1))
                for cluster in clusters
            ]
        )
    )
    if mirror:
        action.request_mirror_policies.add(cluster=mirror)
    match = v3.RouteMatch(safe_regex=v3.RegexMatcher(regex=regex)) if regex else v3.RouteMatch(prefix="/")
    message = v3.VirtualHost(
        name=f"out/{name}", domains=[name, f"{name}.mesh"], routes=[v3.Route(match=match, route=action)]
    )
    aliases = (f"out/{name}", f"out/{name}.mesh")
    required = tuple(sorted({*clusters, mirror} - {""})) if declare_clusters else ()
    return encode(VHDS, f"out/{name}", message, aliases=aliases, required_clusters=required)


@dataclass
class Lab:
    """The server, its current configuration, and the Envoy."""

    folder: Path
    admin: str = ""
    pki: Pki = field(default_factory=Pki)
    table: Table = field(default_factory=dict)
    revision: int = 0
    port: int = 0
    outbound_port: int = 0
    otlp: tuple[str, int] | None = None
    span_port: int = 0
    process: subprocess.Popen[bytes] | None = None
    server: XdsServer | None = None

    async def serve(self) -> None:
        """Start the server; after a stop, on the same port."""
        self.server = XdsServer("127.0.0.1", self.port, DOMAIN, self.pki.server())
        self.port = await self.server.start()
        self.server.publish(self.snapshot())

    def snapshot(self) -> HandMadeSnapshot:
        return HandMadeSnapshot(HandMadeNode(self.revision, dict(self.table)))

    def put(self, *resources: Resource) -> None:
        """Add or replace resources and publish."""
        self.table.update({(resource.type_url, resource.name): resource for resource in resources})
        self._publish()

    def drop(self, *keys: tuple[str, str]) -> None:
        """Remove resources and publish."""
        for key in keys:
            del self.table[key]
        self._publish()

    def _publish(self) -> None:
        self.revision += 1
        if self.server is not None:
            self.server.publish(self.snapshot())

    def start_envoy(self) -> None:
        """Start the Envoy with the files that an agent would write."""
        home = self.folder / "sidecar"
        home.mkdir(mode=0o700)
        uri = Identity(DOMAIN, "service", "web").uri
        signed, key = self.pki.svid("web")
        assemble_svid = svid.assemble_svid(key, signed, uri)
        (home / IDENTITY_FILE).write_text(svid.identity_secret(assemble_svid))
        (home / BUNDLE_FILE).write_text(svid.bundle_secret(assemble_svid, DOMAIN))
        admin = socket_path(home, "admin.sock")
        admin.parent.mkdir(mode=0o700, exist_ok=True)
        node = bootstrap.BootstrapParams(
            id="web-1",
            cluster="web",
            trust_domain=DOMAIN,
            xds=("127.0.0.1", self.port),
            admin_socket=str(admin),
            bind="127.0.0.1",
            ready_port=free_port(),
            outbound_port=self.outbound_port,
            inbound_port=free_port(),
            otlp=self.otlp,
            spans_port=self.span_port,
        )
        (home / "bootstrap.json").write_text(json.dumps(bootstrap.build_bootstrap(node)))
        self.admin = str(admin)
        command = [ENVOY, "-c", "bootstrap.json", "--concurrency", "1", "--disable-hot-restart", "-l", "info"]
        with (self.folder / "envoy.log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log)

    async def admin_get(self, path: str) -> tuple[int, str]:
        """Status and body of a page of Envoy's admin; (0, error) while it does not listen."""
        try:
            connector = aiohttp.UnixConnector(self.admin)
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get(f"http://envoy{path}") as response,
            ):
                return response.status, await response.text()
        except aiohttp.ClientError as error:
            return 0, str(error)

    async def ready(self) -> None:
        """Wait until Envoy is ready and its listener is open."""
        await until(self._is_ready)

    async def _is_ready(self) -> bool:
        return (await self.admin_get("/ready"))[0] == 200 and "outbound" in (
            await self.admin_get("/listeners")
        )[1]

    async def clusters(self) -> set[str]:
        """Names of Envoy's clusters, without those of the bootstrap."""
        _, text = await self.admin_get("/clusters?format=json")
        names = {cluster_status["name"] for cluster_status in json.loads(text)["cluster_statuses"]}
        return names - {cluster_names.XDS, cluster_names.ADMIN}

    async def get(self, host: str, path: str = "/") -> tuple[int, str, float]:
        """A request through the sidecar: status, body, seconds."""
        begin = time.perf_counter()
        url = f"http://127.0.0.1:{self.outbound_port}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Host": host}) as response,
        ):
            text = await response.text()
            return response.status, text, time.perf_counter() - begin

    async def synced(self) -> None:
        """Wait until Envoy has ACKed the newest revision."""
        await until(lambda: self.state() == ("synced", self.revision))

    def state(self) -> tuple[str, int]:
        assert self.server is not None
        proxy_statuses = self.server.proxies()
        return (proxy_statuses[0].state, proxy_statuses[0].revision) if proxy_statuses else ("", 0)

    def unchecked_clusters(self) -> tuple[str, ...]:
        """The clusters for whose first health checks Envoy may wait."""
        assert self.server is not None
        (proxy,) = self.server.proxies()
        return proxy.unchecked_clusters

    async def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                await asyncio.to_thread(self.process.wait, 10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.server is not None:
            await self.server.stop()
        shutil.rmtree(socket_path(self.folder / "sidecar", "admin.sock").parent, ignore_errors=True)


@asynccontextmanager
async def lab(folder: Path, *resources: Resource) -> AsyncIterator[Lab]:
    """A running lab whose Envoy is ready, with listener and routes."""
    running = Lab(folder, outbound_port=free_port())
    try:
        filters = shared_filters.resources("outbound", ())
        running.put(outbound(running.outbound_port), *filters, out_routes(), *resources)
        await running.serve()
        running.start_envoy()
        await running.ready()
        yield running
    finally:
        await running.stop()


async def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Poll until the condition (or what it awaits) is true."""
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {patience} s: {getattr(condition, '__qualname__', 'a condition')}"
            )
        await asyncio.sleep(0.02)
