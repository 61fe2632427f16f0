"""The codec: bytes computed by hand, equal bytes in every process, and the dictionary form."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from google.protobuf.json_format import ParseError
from google.protobuf.message import DecodeError, Message

from meshwright.control_plane.envoy import codec, v3
from tests.control_plane.envoy import samples

DIGEST = """
import hashlib
from meshwright.control_plane.envoy import codec
from tests.control_plane.envoy import samples
for sample in samples.all_samples():
    print(hashlib.sha256(codec.encode(sample)).hexdigest(), codec.to_dict(sample))
"""


def test_encode_cluster_matches_the_wire_format() -> None:
    cluster = v3.Cluster(
        name="a",
        type=v3.Cluster.EDS,
        connect_timeout=timedelta(seconds=1, milliseconds=500),
        per_connection_buffer_limit_bytes=v3.UInt32Value(value=300),
    )
    # name = 1, type = 2 (EDS 3), connect_timeout = 4 (seconds 1, nanos 500000000), limit = 5 (value 300)
    expected = "0a0161" + "1003" + "2208" + "0801" + "1080cab5ee01" + "2a03" + "08ac02"
    assert codec.encode(cluster).hex() == expected


def test_encode_packs_repeated_numbers() -> None:
    retry_policy = v3.RetryPolicy(retriable_status_codes=[502, 503])
    assert codec.encode(retry_policy).hex() == "3a04" + "f603" + "f703"


def test_encode_sorts_map_entries_by_key() -> None:
    rules = v3.RBACRules(policies={"b": v3.RBACPolicy(), "a": v3.RBACPolicy()})
    assert codec.encode(rules).hex() == "1205" + "0a0161" + "1200" + "1205" + "0a0162" + "1200"


def test_encode_resource_contains_an_any() -> None:
    resource = v3.Resource(name="a", version="1", resource=codec.pack(v3.VirtualHost(name="b")))
    url = b"type.googleapis.com/envoy.config.route.v3.VirtualHost"
    inner = b"\x0a" + bytes([len(url)]) + url + b"\x12\x03\x0a\x01b"
    assert codec.encode(resource) == b"\x0a\x011" + b"\x12" + bytes([len(inner)]) + inner + b"\x1a\x01a"


@pytest.mark.parametrize("subject", [v3.Cluster, v3.Cluster(name="a")])
def test_type_url_of_a_class_and_of_a_message(subject: Message) -> None:
    assert codec.type_url(subject) == "type.googleapis.com/envoy.config.cluster.v3.Cluster"


def test_bytes_and_dictionaries_are_equal_with_any_hash_seed() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == len(samples.all_samples())


@pytest.mark.parametrize("sample", samples.all_samples(), ids=codec.type_url)
def test_decode_returns_the_encoded_message(sample: Message) -> None:
    assert codec.decode(codec.type_url(sample), codec.encode(sample)) == sample


@pytest.mark.parametrize("sample", samples.all_samples(), ids=codec.type_url)
def test_from_dict_reads_to_dict(sample: Message) -> None:
    plain = codec.to_dict(sample)
    assert codec.to_dict(codec.from_dict(type(sample), plain)) == plain


def test_to_dict_uses_the_names_of_envoys_documentation() -> None:
    assert codec.to_dict(samples.http_filters()[3]) == {
        "name": "envoy.filters.http.fault",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "abort": {"http_status": 503, "percentage": {"numerator": 1}},
        },
    }


def test_to_dict_orders_maps_by_key_and_fields_by_number() -> None:
    new_metadata = v3.Metadata(
        filter_metadata={"b": codec.struct({"z": [{"y": 1, "x": None}], "a": "t"}), "a": v3.Struct()}
    )
    plain = codec.to_dict(
        v3.Cluster(metadata=new_metadata, connect_timeout=timedelta(seconds=1), name="orders")
    )
    assert list(plain) == ["name", "connect_timeout", "metadata"]
    metadata = plain["metadata"]["filter_metadata"]
    assert (list(metadata), list(metadata["b"]), list(metadata["b"]["z"][0])) == (
        ["a", "b"],
        ["a", "z"],
        ["x", "y"],
    )


@pytest.mark.parametrize(
    ("inner", "plain"),
    [
        (v3.Duration(seconds=2), {"value": "2s"}),
        (codec.pack(v3.Cluster(name="a")), {"value": codec.to_dict(codec.pack(v3.Cluster(name="a")))}),
        (codec.struct({"a": 1}), {"value": {"a": 1}}),
    ],
)
def test_to_dict_well_known_type_in_an_any_has_a_value(inner: Message, plain: dict[str, object]) -> None:
    assert codec.to_dict(codec.pack(inner)) == {"@type": codec.type_url(inner)} | plain


def test_to_dict_empty_any_is_empty() -> None:
    assert codec.to_dict(v3.HttpFilter(name="a", typed_config=v3.Any())) == {"name": "a", "typed_config": {}}


def test_from_dict_two_members_of_a_oneof_are_rejected() -> None:
    with pytest.raises(ParseError, match="oneof"):
        codec.from_dict(v3.RouteMatch, {"prefix": "/", "path": "/a"})


def test_from_dict_unknown_name_is_rejected() -> None:
    with pytest.raises(ParseError, match="nam"):
        codec.from_dict(v3.Cluster, {"nam": "a"})


def test_decode_unknown_type_or_malformed_bytes_are_rejected() -> None:
    with pytest.raises(KeyError):
        codec.decode("type.googleapis.com/envoy.api.v2.Cluster", b"")
    with pytest.raises(DecodeError):
        codec.decode(codec.type_url(v3.Cluster), b"\x0a\x05a")
