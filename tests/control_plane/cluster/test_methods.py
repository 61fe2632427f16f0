"""The methods in Python are those of cluster.proto."""

from __future__ import annotations

from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster import methods
from meshwright.control_plane.cluster.methods import Method


def test_methods_match_the_service_of_the_proto() -> None:
    (service,) = pb.DESCRIPTOR.services_by_name.values()
    declared = [method for method in vars(methods).values() if isinstance(method, Method)]
    assert service.full_name == methods.SERVICE
    assert {
        (method.name, method.request.DESCRIPTOR.name, method.response.DESCRIPTOR.name) for method in declared
    } == {(method.name, method.input_type.name, method.output_type.name) for method in service.methods}
