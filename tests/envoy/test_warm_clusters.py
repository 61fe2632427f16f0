"""Routes that change to a cluster whose first health check has not ended: the old ones stay until then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from meshwright.control_plane.core import http_connection_manager as http
from meshwright.control_plane.core import shared_filters, tcp
from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, Resource, ads_source, encode
from meshwright.control_plane.core.views import ListenerSettings, UpstreamView
from meshwright.control_plane.envoy import v3
from tests.envoy.xds_lab import PATIENCE, Lab, lab, service, until, virtual_host
from tests.fakes.app_process import RunningApp, running_app
from tests.fakes.ports import free_port

ROUTES = "gateway"

DUMPS = ("dynamic_route_configs", "dynamic_listeners")


class Probes:
    """A server of health checks that answers none before `release`."""

    def __init__(self) -> None:
        self.arrived, self.released = asyncio.Event(), asyncio.Event()
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (await reader.readuntil(b"\r\n\r\n")) and not writer.is_closing():
                self.arrived.set()
                await self.released.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def probes() -> AsyncIterator[Probes]:
    probes = Probes()
    server = await asyncio.start_server(probes.answer, "127.0.0.1", 0)
    probes.port = server.sockets[0].getsockname()[1]
    yield probes
    probes.released.set()
    server.close()


def gateway_routes(*clusters: str) -> Resource:
    """A gateway's routes: an even split over the clusters."""
    weights = [
        v3.WeightedCluster.ClusterWeight(name=cluster, weight=v3.UInt32Value(value=1)) for cluster in clusters
    ]
    action = v3.RouteAction(weighted_clusters=v3.WeightedCluster(clusters=weights))
    host = v3.VirtualHost(
        name="all", domains=["*"], routes=[v3.Route(match=v3.RouteMatch(prefix="/"), route=action)]
    )
    message = v3.RouteConfiguration(name=ROUTES, virtual_hosts=[host])
    return encode(RDS, ROUTES, message, required_clusters=clusters)


def checked_service(name: str, port: int, probe_port: int) -> tuple[Resource, Resource]:
    """A cluster and its one endpoint, whose health is asked at a port of its own."""
    check = v3.HealthCheck(http_health_check=v3.HealthCheck.HttpHealthCheck(path="/"))
    check.interval.seconds, check.timeout.seconds = 1, 60
    check.healthy_threshold.value = check.unhealthy_threshold.value = 1
    cluster = v3.Cluster(
        name=name,
        type=v3.Cluster.EDS,
        eds_cluster_config=v3.Cluster.EdsClusterConfig(eds_config=ads_source()),
        connect_timeout=v3.Duration(seconds=1),
        health_checks=[check],
    )
    endpoint = v3.Endpoint(
        address=v3.Address(socket_address=v3.SocketAddress(address="127.0.0.1", port_value=port)),
        health_check_config=v3.Endpoint.HealthCheckConfig(port_value=probe_port),
    )
    group = v3.LocalityLbEndpoints(lb_endpoints=[v3.LbEndpoint(endpoint=endpoint)])
    assignment = v3.ClusterLoadAssignment(cluster_name=name, endpoints=[group])
    return encode(CDS, name, cluster), encode(EDS, name, assignment)


async def get(port: int) -> int:
    """The status of a request for host `a`, on a connection of its own."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/", headers={"Host": "a", "Connection": "close"}) as response,
    ):
        await response.read()
        return response.status


@pytest.mark.parametrize("route", ["gateway", "gateway, weighted", "sidecar", "tcp"])
async def test_a_route_changes_when_the_first_check_of_its_new_cluster_has_passed(
    tmp_path: Path, probes: Probes, route: str
) -> None:
    gateway_port, tcp_port = free_port(), free_port()
    with running_app("a") as app, running_app("late") as late:
        chain = v3.FilterChain(filters=[http.network_filter(gateway_manager())])
        resources = (
            *service("a", app.port),
            *shared_filters.resources("ingress", ()),
            encode(LDS, "gateway", http.listener("gateway", "127.0.0.1", gateway_port, [chain])),
            gateway_routes("a"),
            tcp_listener(tcp_port, "a"),
            virtual_host("a", "a"),
        )
        async with lab(tmp_path, *resources) as envoy:
            ports = {"sidecar": envoy.outbound_port, "tcp": tcp_port}
            port = ports.get(route, gateway_port)
            await until(lambda: is_served(port))
            changed = {
                "gateway": gateway_routes("late"),
                "gateway, weighted": gateway_routes("a", "late"),
                "sidecar": virtual_host("a", "late"),
                "tcp": tcp_listener(tcp_port, "late"),
            }
            envoy.put(*checked_service("late", late.port, probes.port), changed[route])
            await asyncio.wait_for(probes.arrived.wait(), PATIENCE)
            assert {await get(port) for _ in range(100)} == {200}
            assert not late.counts()
            probes.released.set()
            await until(lambda: leads_to(envoy, "late"))
            await until(lambda: is_reached(late, port))


async def test_other_routes_change_while_a_check_is_under_way_and_the_status_names_it(
    tmp_path: Path, probes: Probes
) -> None:
    hosts = ("a", "b", "c", "d")
    with running_app("a") as app, running_app("late") as late, running_app("new") as new:
        routes = [virtual_host(host, "a") for host in hosts]
        async with lab(tmp_path, *service("a", app.port), *routes) as envoy:
            for host in hosts:
                await until(partial(serves, envoy, host, "a"))
            await envoy.synced()
            assert envoy.unchecked_clusters() == ()
            envoy.put(*checked_service("late", late.port, probes.port), virtual_host("a", "late"))
            await asyncio.wait_for(probes.arrived.wait(), PATIENCE)
            envoy.put(*service("new", new.port), virtual_host("b", "new"))
            await until(lambda: serves(envoy, "b", "new"))
            envoy.put(virtual_host("c", "new"))
            await until(lambda: serves(envoy, "c", "new"))
            # Envoy does not say which of two checks it waits for: both services keep their routes.
            envoy.put(*checked_service("another", new.port, new.port), virtual_host("d", "another"))
            await until(lambda: envoy.unchecked_clusters() == ("another", "late"))
            assert await serves(envoy, "a", "a") and await serves(envoy, "d", "a")
            probes.released.set()
            await until(lambda: serves(envoy, "a", "late"))
            await until(lambda: serves(envoy, "d", "new"))
            await envoy.synced()
            assert envoy.unchecked_clusters() == ()


async def serves(envoy: Lab, host: str, name: str) -> bool:
    """Whether this app responds to a request for the host."""
    status, text, _ = await envoy.get(host)
    return status == 200 and json.loads(text)["name"] == name


def gateway_manager() -> v3.HttpConnectionManager:
    return http.connection_manager("ingress", "ingress", ROUTES, ListenerSettings("gateway"))


def tcp_listener(port: int, cluster: str) -> Resource:
    """A listener whose connections go to one cluster."""
    return tcp.listener("tcp", "127.0.0.1", port, UpstreamView(((cluster, 1),)), "ingress")


async def is_served(port: int) -> bool:
    try:
        return await get(port) == 200
    except aiohttp.ClientError:
        return False


async def leads_to(envoy: Lab, cluster: str) -> bool:
    """Whether a route or listener that Envoy has in force names the cluster."""
    dumps = [await envoy.admin_get(f"/config_dump?resource={name}") for name in DUMPS]
    return any(f'"{cluster}"' in text for _, text in dumps)


async def is_reached(app: RunningApp, port: int) -> bool:
    """Whether the app has counted a request, after one more."""
    assert await get(port) == 200
    return bool(app.counts())
