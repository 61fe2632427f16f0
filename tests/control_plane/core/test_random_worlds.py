"""Random worlds: nothing raises, every reference resolves, changes stay within one service."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from meshwright.control_plane.api.models.instances import Port
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
    unique_by=lambda port: port.name,
).map(tuple)
services = st.dictionaries(st.sampled_from(NAMES), ports, max_size=3).map(
    lambda portses: tuple(service(name, ports=item) for name, item in portses.items())
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
    unique = {document.ref: document for document in documents("".join(texts))}
    return world(*given_services, policy_documents=tuple(unique.values()))


def parts(snapshot: Snapshot) -> dict[tuple[str, ...], str]:
    tables = {"": snapshot.shared, **snapshot.variants}
    values: dict[tuple[str, ...], str] = {
        (caller, *key): resource.version
        for caller, table in tables.items()
        for key, resource in table.items()
    }
    for owner, resources in snapshot.node_resources():
        values.update(
            {("of", owner, resource.type_url, resource.name): resource.version for resource in resources}
        )
    return values


@settings(max_examples=60, deadline=None)
@given(services, st.lists(policies, max_size=6))
def test_translate_any_world_is_consistent_and_reuse_changes_nothing(
    actual_services: tuple[Service, ...], texts: list[str]
) -> None:
    before = translate(build(actual_services, texts[: len(texts) // 2]))
    fresh = translate(build(actual_services, texts))
    assert fresh.snapshot.dangling_references() == ()
    assert fresh.snapshot.problems == ()
    assert parts(translate(build(actual_services, texts), before).snapshot) == parts(fresh.snapshot)


@settings(max_examples=40, deadline=None)
@given(services, st.lists(policies, max_size=4), st.integers(1, 9))
def test_translate_changed_instances_affect_only_their_service(
    actual_services: tuple[Service, ...], texts: list[str], port: int
) -> None:
    before = translate(build(actual_services, texts))
    moved = tuple(
        Service(item.name, item.ports, (instance("new", port),)) if item.name == "a" else item
        for item in actual_services
    )
    after = translate(build(moved, texts), before)
    changed = after.snapshot.changed_from(before.snapshot)
    assert {name.split("/")[0].split(":")[0] for _, name in changed} <= {"a"}
