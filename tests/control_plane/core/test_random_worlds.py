"""Random worlds: nothing raises, every reference closes, nothing leaks from one service to another."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from meshwright.control_plane.api.models.base import Port
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.world import Service, World
from tests.control_plane.core.worlds import documents, instance, mesh, route, service, subset, world

NAMES = ("a", "b", "c")
names = st.sampled_from((*NAMES, "nobody"))
ports = st.lists(
    st.builds(
        Port,
        name=st.sampled_from(("http", "x", "y")),
        protocol=st.sampled_from(("http", "grpc", "tcp")),
        number=st.sampled_from((0, 80, 9090)),
    ),
    max_size=3,
    unique_by=lambda one: one.name,
).map(tuple)
services = st.dictionaries(st.sampled_from(NAMES), ports, max_size=3).map(
    lambda found: tuple(service(name, ports=each) for name, each in found.items())
)
backends = st.one_of(
    st.builds(
        "{{name: {}, weight: {}{}}}".format,
        names,
        st.integers(0, 3),
        st.sampled_from(("", ", port: 80", ", port: 9090")),
    ),
    st.builds(
        "{{group: meshwright.io, kind: Subset, name: {}}}".format, st.sampled_from(("s-a", "s-b", "s-x"))
    ),
)
targets = st.one_of(
    st.just("{kind: Mesh}"),
    names.map("{{kind: Service, name: {}}}".format),
    st.just("{kind: HTTPRoute, name: r-a}"),
)
callers = st.sampled_from(("", "from: [a],", "from: [b, c],"))
parents = st.one_of(names.map("{{kind: Service, name: {}}}".format), st.just("{name: ingress}"))
policies = st.one_of(
    st.builds(
        lambda name, parent, refs: route(f"r-{name}", f"{{backendRefs: [{', '.join(refs)}]}}", parent),
        names,
        parents,
        st.lists(backends, max_size=3),
    ),
    st.builds(lambda of: subset(f"s-{of}", of), names),
    st.builds(
        lambda name, target, more: mesh("Timeout", f"t-{name}", f"{more} request: 1s", target),
        names,
        targets,
        callers,
    ),
    st.builds(
        lambda name, target, more: mesh("Retry", f"y-{name}", f"{more} attempts: 1", target),
        names,
        targets,
        callers,
    ),
    st.builds(
        lambda name, mode, target: mesh("MutualTLS", f"m-{name}", f"mode: {mode}", target),
        names,
        st.sampled_from(("Strict", "Permissive", "Disabled")),
        names.map("{{kind: Service, name: {}}}".format),
    ),
)


def build(given_services: tuple[Service, ...], texts: list[str]) -> World:
    unique = {one.ref: one for one in documents("".join(texts))}
    return world(*given_services, given=tuple(unique.values()))


def parts(snapshot: Snapshot) -> dict[tuple[str, ...], str]:
    tables = {"": snapshot.shared, **snapshot.variants}
    found: dict[tuple[str, ...], str] = {
        (caller, *key): one.version for caller, table in tables.items() for key, one in table.items()
    }
    for owner, resources in snapshot.node_resources():
        found.update({("of", owner, one.type_url, one.name): one.version for one in resources})
    return found


@settings(max_examples=60, deadline=None)
@given(services, st.lists(policies, max_size=6))
def test_any_world_is_consistent_and_reuse_changes_nothing(
    found: tuple[Service, ...], texts: list[str]
) -> None:
    before = translate(build(found, texts[: len(texts) // 2]))
    fresh = translate(build(found, texts))
    assert fresh.snapshot.dangling_references() == ()
    assert fresh.snapshot.problems == ()
    assert parts(translate(build(found, texts), before).snapshot) == parts(fresh.snapshot)


@settings(max_examples=40, deadline=None)
@given(services, st.lists(policies, max_size=4), st.integers(1, 9))
def test_other_instances_of_a_service_change_no_other_service(
    found: tuple[Service, ...], texts: list[str], port: int
) -> None:
    before = translate(build(found, texts))
    moved = tuple(
        Service(one.name, one.ports, (instance("new", port),)) if one.name == "a" else one for one in found
    )
    after = translate(build(moved, texts), before)
    changed = after.snapshot.changed_from(before.snapshot)
    assert {name.split("/")[0].split(":")[0] for _, name in changed} <= {"a"}
