"""A real scratch Envoy's verdicts on changes of a small exchange."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.policies import registry
from meshwright.control_plane.verification import confinement, verifier
from meshwright.control_plane.verification.scratch_envoy import ScratchEnvoy
from meshwright.control_plane.verification.verifier import EnvoyVerdict, Verifier
from tests.control_plane.core.worlds import TCP, exchange, mesh, service

ORDERS = "{kind: Service, name: orders}"
RETRY = mesh("Retry", "orders", "attempts: 3", ORDERS)
TIMEOUT = mesh("Timeout", "inventory", "request: 3s", "{kind: Service, name: inventory}")
BUDGET = 120.0


def patch(kind: str, name: str, operation: str, target: str = ORDERS, document: str = "p") -> str:
    return mesh(
        "EnvoyPatch",
        document,
        f"patches: [{{type: {kind}, name: {name}, operations: [{operation}]}}]",
        target,
    )


ZERO = patch("Cluster", "catalog", "{op: add, path: /connect_timeout, value: 0s}")
NO_SUCH_FILTER = patch(
    "Listener", "inbound", "{op: add, path: /listener_filters, value: [{name: envoy.filters.listener.nope}]}"
)


def bodies(text: str) -> list[dict[str, Any]]:
    return [body for body in YAML(typ="safe").load_all(text) if body]


class Lab:
    """A verifier for the exchange without policies, and what it reports to the status."""

    def __init__(self, state: Path, budget: float = BUDGET) -> None:
        self.reports: list[str] = []
        self.envoy = ScratchEnvoy(state)
        served = translate(exchange("", service("ledger", ports=(TCP,))))
        self.verifier = Verifier(lambda: served, self.envoy, self.reports.append, budget)

    async def verify(self, text: str, before: str = "") -> EnvoyVerdict:
        return await self.verifier.verify(bodies(before), bodies(text))


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    await lab.verifier.stop()


def reasons(verdict: EnvoyVerdict) -> Sequence[str]:
    return [objection.message for objection in verdict.objections]


async def test_a_rejected_resource_is_named_with_envoys_reason_and_its_policies(lab: Lab) -> None:
    assert await lab.verify(RETRY + TIMEOUT) == EnvoyVerdict()
    verdict = await lab.verify(RETRY + ZERO)
    (objection,) = verdict.objections
    assert (objection.resource, objection.owner) == ("Cluster catalog", "orders")
    assert objection.policies == ("EnvoyPatch/p",)
    assert objection.message == (
        "Proto constraint validation failed "
        "(ClusterValidationError.ConnectTimeout: value must be greater than 0s)"
    )
    assert await lab.verify(RETRY) == EnvoyVerdict(), "a objection leaves nothing behind"
    assert "envoy.filters.listener.nope" in reasons(await lab.verify(RETRY + NO_SUCH_FILTER))[0]
    assert lab.reports == [""] * len(lab.reports)


async def test_a_large_change_gets_the_same_verdict(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is translated in a process of its own, so worlds and nodes travel as pickles."""
    monkeypatch.setattr(verifier, "SMALL_CHANGE", 0)
    assert await lab.verify(RETRY + TIMEOUT) == EnvoyVerdict()
    (objection,) = (await lab.verify(RETRY + ZERO)).objections
    assert (objection.resource, objection.policies) == ("Cluster catalog", ("EnvoyPatch/p",))


async def test_what_was_rejected_before_the_change_does_not_block_another(lab: Lab) -> None:
    """Such as a policy of an older Envoy, or one that was applied without verification."""
    assert await lab.verify(ZERO + RETRY, before=ZERO) == EnvoyVerdict()
    (worse,) = (await lab.verify(ZERO + NO_SUCH_FILTER.replace("name: p", "name: q"), before=ZERO)).objections
    assert worse.policies == ("EnvoyPatch/q",)


async def test_a_patch_of_a_resource_that_does_not_exist_yet_is_no_objection(lab: Lab) -> None:
    assert (
        await lab.verify(patch("Cluster", "later", "{op: add, path: /connect_timeout, value: 1s}"))
        == EnvoyVerdict()
    )


async def test_the_examples_of_all_kinds_are_accepted(lab: Lab) -> None:
    for kind in registry.kinds():
        assert await lab.verify(registry.example(kind)) == EnvoyVerdict(), kind


async def test_an_accepted_resource_is_not_asked_about_again(lab: Lab) -> None:
    assert await lab.verify(RETRY) == EnvoyVerdict()
    await lab.envoy.stop()
    assert await lab.verify(RETRY) == EnvoyVerdict()
    assert lab.envoy.pid is None, "nothing had to be asked"


async def test_without_an_envoy_the_change_passes_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_ENVOY", str(tmp_path / "none"))
    lab = Lab(tmp_path)
    verdict = await lab.verify(RETRY)
    assert verdict.objections == ()
    assert verdict.unverified.startswith("no Envoy has checked it: MESH_ENVOY: ")
    assert lab.reports[-1].startswith("changes of policies are not checked by Envoy: ")
    monkeypatch.delenv("MESH_ENVOY")
    assert await lab.verify(RETRY) == EnvoyVerdict()
    assert lab.reports[-1] == ""
    await lab.verifier.stop()


async def test_an_envoy_that_ends_refuses_the_change_and_the_next_one_gets_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lab: Lab
) -> None:
    fragile = tmp_path / "fragile"
    fragile.write_text("#!/bin/sh\nexit 3\n")
    fragile.chmod(0o700)
    monkeypatch.setenv("MESH_ENVOY", str(fragile))
    verdict = await lab.verify(RETRY)
    assert "it ended with status 3" in verdict.unverified
    monkeypatch.delenv("MESH_ENVOY")
    assert await lab.verify(RETRY) == EnvoyVerdict()
    assert lab.envoy.pid is not None
    pid = lab.envoy.pid
    await lab.verifier.stop()
    assert not psutil.pid_exists(pid)


async def test_what_is_not_checked_in_time_passes_with_a_warning(tmp_path: Path) -> None:
    lab = Lab(tmp_path, budget=0.001)
    assert (await lab.verify(RETRY)).unverified == "Envoy has not checked all of it within 0.001 s"
    assert lab.envoy.pid is None


FILTERS = "/filter_chains/0/filters/0/typed_config/http_filters/0"
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"


def code(source: str) -> str:
    value = f'{{name: lua, typed_config: {{"@type": {LUA}, default_source_code: {source}}}}}'
    return patch("Listener", "inbound", f"{{op: add, path: {FILTERS}, value: {value}}}")


def file_log(path: Path) -> str:
    value = f'[{{name: log, typed_config: {{"@type": {FILE_LOG}, path: {path}}}}}]'
    return patch("Listener", "inbound", f"{{op: add, path: /access_log, value: {value}}}")


def resolved_by(port: int) -> str:
    """A cluster whose host is looked up by the name server at a UDP port."""
    server = f"{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"
    kind = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
    config = f'{{"@type": {kind}, resolvers: [{server}]}}'
    host = "{socket_address: {address: somewhere.test, port_value: 80}}"
    assignment = (
        f"{{cluster_name: catalog, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {host}}}}}]}}]}}"
    )
    steps = (
        "{op: remove, path: /eds_cluster_config}",
        "{op: add, path: /type, value: LOGICAL_DNS}",
        f"{{op: add, path: /load_assignment, value: {assignment}}}",
        f"{{op: add, path: /typed_dns_resolver_config, value: {{name: dns, typed_config: {config}}}}}",
    )
    return patch("Cluster", "catalog", ", ".join(steps))


def secrets_from(target: str) -> str:
    """A cluster whose certificate a gRPC server at a target is asked for."""
    service = f"{{google_grpc: {{target_uri: '{target}', stat_prefix: x}}}}"
    source = (
        f"{{api_config_source: {{api_type: GRPC, transport_api_version: V3, grpc_services: [{service}]}}}}"
    )
    secret = f"{{name: s, sds_config: {source}}}"
    context = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    tls = f'{{"@type": {context}, common_tls_context: {{tls_certificate_sds_secret_configs: [{secret}]}}}}'
    value = f"{{name: tls, typed_config: {tls}}}"
    return patch("Cluster", "catalog", f"{{op: add, path: /transport_socket, value: {value}}}")


async def test_a_patch_makes_no_envoy_run_code_or_use_files_of_the_control_planes_host(
    tmp_path: Path, lab: Lab
) -> None:
    """Whoever may only look at the mesh may ask for a diff."""
    made, secret = tmp_path / "made", tmp_path / "secret"
    secret.write_text("hunter2 is no Lua")
    runs = f"""{{inline_string: "os.execute('touch {made}') io.open('{made}', 'w')"}}"""
    certificate = f"{{certificate_chain: {{filename: {secret}}}, private_key: {{filename: {secret}}}}}"
    context = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    tls = f'{{"@type": {context}, common_tls_context: {{tls_certificates: [{certificate}]}}}}'
    transport = f"{{name: tls, typed_config: {tls}}}"
    reads = patch("Cluster", "catalog", f"{{op: add, path: /transport_socket, value: {transport}}}")
    for evil in (code(runs), code(f"{{filename: {secret}}}"), file_log(made), reads):
        verdict = await lab.verify(evil)
        assert verdict.objections == (), evil
        assert verdict.unverified.endswith("are left to the proxies themselves"), evil
        assert not made.exists(), evil
    assert lab.envoy.is_confined
    (objection,) = (await lab.verify(ZERO)).objections
    assert objection.resource == "Cluster catalog"


async def test_a_patch_makes_no_envoy_call_sockets_of_the_control_planes_host(
    tmp_path: Path, lab: Lab
) -> None:
    """A patch may choose a name server, which is asked over UDP, and a source of secrets at a Unix socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dns, socket.socket(socket.AF_UNIX) as secrets:
        dns.bind(("127.0.0.1", 0))
        secrets.bind(str(tmp_path / "secrets.sock"))
        secrets.listen()
        verdict = await lab.verify(resolved_by(dns.getsockname()[1]))
        assert verdict == EnvoyVerdict()
        verdict = await lab.verify(secrets_from(f"unix:{tmp_path / 'secrets.sock'}"))
        assert verdict.unverified.startswith("Envoy has not checked Cluster catalog of orders: ")
        assert await lab.verify(TIMEOUT) == EnvoyVerdict()
        for each in (dns, secrets):
            each.setblocking(False)
            with pytest.raises(BlockingIOError):
                each.recv(1) if each is dns else each.accept()


async def test_an_envoy_that_cannot_be_confined_gets_no_patched_resource(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confinement, "MIN_ABI", 1 << 16)
    verdict = await lab.verify(RETRY + ZERO)
    assert verdict.objections == ()
    assert verdict.unverified.startswith("Envoy has not checked Cluster catalog of orders: ")
    assert await lab.verify(RETRY) == EnvoyVerdict()


async def test_a_comparison_that_ran_out_of_time_ends_before_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    release = threading.Event()
    compare = verifier._compare

    def blocked(*arguments: Any) -> Iterator[verifier.Part]:
        started.append(1)
        release.wait(BUDGET)
        yield from compare(*arguments)

    monkeypatch.setattr(verifier, "_compare", blocked)
    lab = Lab(tmp_path, budget=0.01)
    for _ in range(3):
        assert (await lab.verify(RETRY)).unverified
    assert len(started) <= 1
    release.set()
    async with asyncio.timeout(BUDGET):
        while len(started) < 2:
            await lab.verify(RETRY)
    await lab.verifier.stop()


async def test_a_folder_that_is_not_ours_gets_no_files(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / "verify").symlink_to(victim)
    lab = Lab(tmp_path)
    assert "is a symbolic link" in (await lab.verify(RETRY)).unverified
    assert "is a symbolic link" in lab.reports[-1]
    assert list(victim.iterdir()) == []
    await lab.verifier.stop()
