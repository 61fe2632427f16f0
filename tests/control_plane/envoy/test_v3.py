"""The message classes: isolated from other schemas, quick to import, consistent with their stubs."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import wrappers_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from mypy import api as mypy

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.envoy.messages import ENUMS, MESSAGES
from tests.control_plane.envoy import schema

ROOT = Path(__file__).parents[3]
OTHERS = ("opentelemetry.proto.trace.v1.trace_pb2", "google.rpc.status_pb2", "google.rpc.error_details_pb2")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("first", ["envoy", "others"])
def test_other_packages_descriptors_load_in_the_same_process(first: str) -> None:
    imports = ["from meshwright.control_plane.envoy import codec", *(f"import {module}" for module in OTHERS)]
    if first == "others":
        imports.reverse()
    checks = "status = codec.decode('google.rpc.Status', bytes([8, 3]))\n"
    checks += "print(status.code, google.rpc.status_pb2.Status(code=4).code)"
    assert run("\n".join([*imports, checks])) == "3 4\n"


def test_envoy_data_plane_is_not_needed_at_run_time() -> None:
    code = """
import sys
sys.modules["envoy_data_plane"] = sys.modules["betterproto2"] = None
from meshwright.control_plane.envoy import codec, v3
print(codec.encode(v3.Cluster(name="a")).hex())
"""
    assert run(code) == "0a0161\n"


def test_one_module_imports_envoy_data_plane() -> None:
    importing = {
        path.name
        for path in (ROOT / "control_plane").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        and "envoy_data_plane" in ast.unparse(node).replace(".", " ").split()
    }
    assert importing == {"descriptors.py"}


def test_importing_the_classes_is_quick(record_property: Any) -> None:
    """Measured at 22 ms beyond protobuf's own 60 ms; the bound leaves room for a busy machine."""
    code = """
import time
from google.protobuf import json_format, message_factory
start = time.perf_counter()
from meshwright.control_plane.envoy import v3
print(time.perf_counter() - start)
"""
    seconds = float(run(code))
    record_property("import_seconds", seconds)
    sys.stdout.write(f"import of v3: {seconds * 1000:.0f} ms\n")
    assert seconds < 5


def test_every_name_is_exposed_once() -> None:
    assert len(set(MESSAGES.values())) == len(MESSAGES)
    assert not set(MESSAGES) & set(ENUMS)
    assert {name: getattr(v3, name).DESCRIPTOR.full_name for name in MESSAGES | ENUMS} == MESSAGES | ENUMS


def test_messages_of_the_default_pool_are_rejected() -> None:
    foreign: Any = wrappers_pb2.UInt32Value(value=1)
    with pytest.raises(TypeError):
        v3.Cluster(per_connection_buffer_limit_bytes=foreign)


ALSO_ACCEPTED: dict[str, list[Any]] = {
    "google.protobuf.Duration": [timedelta(seconds=-1.5)],
    "google.protobuf.ListValue": [[1, "a", None, [True], {"b": 2.5}]],
    "google.protobuf.Struct": [{"a": [1, None, {"b": "c"}], "d": True}],
    "google.protobuf.Timestamp": [datetime(2026, 1, 1, tzinfo=UTC)],
}


def values(field: FieldDescriptor) -> list[Any]:
    """Values of each type that the stubs allow for the field."""
    first = schema.content(field)
    if isinstance(first, dict):
        return [first, {}, None]
    if isinstance(first, list):
        return [first, tuple(first), [], None]
    message = field.message_type
    return [first, None, *(ALSO_ACCEPTED.get(message.full_name, []) if message else [])]


def test_constructors_accept_what_the_stubs_allow() -> None:
    count = 0
    for message in schema.reached():
        cls: Any = GetMessageClass(message)
        for field in message.fields:
            for value in values(field):
                result = cls(**{field.name: value})
                count += 1
                if value is None or (isinstance(value, (list, dict)) and not value):
                    assert result == cls()
                elif field.has_presence:
                    assert result.HasField(field.name)
    assert count > 1000


@pytest.mark.parametrize("value", [5, 5.0, "5"])
def test_wrapper_rejects_a_plain_value(value: Any) -> None:
    with pytest.raises(TypeError):
        v3.CircuitBreakers.Thresholds(max_requests=value)


GOOD = """
from datetime import timedelta
from meshwright.control_plane.envoy import codec, v3
limits = v3.CircuitBreakers(thresholds=[v3.CircuitBreakers.Thresholds(max_requests=v3.UInt32Value(value=1))])
made = v3.Cluster(name="x", connect_timeout=timedelta(seconds=1), type=v3.Cluster.STATIC)
made.circuit_breakers.CopyFrom(limits)
packed: v3.Any = codec.pack(made)
name: str = made.load_assignment.endpoints[0].locality.region
made.CopyFrom(codec.from_dict(v3.Cluster, {}))
v3.SubstitutionFormatString(json_format={"a": [1, {"b": None}]})
v3.LbEndpoint(health_status=v3.HealthStatus.HEALTHY)
"""
BAD = {
    'v3.Cluster(nam="x")': "Unexpected keyword",
    "v3.Cluster(name=1)": "arg-type",
    'v3.VirtualHost(domains="orders")': "arg-type",
    "v3.CircuitBreakers.Thresholds(max_requests=1)": "arg-type",
    "v3.Cluster(lb_policy=v3.Cluster.LEAST_REQUESTS)": "attr-defined",
    "v3.HealthStatus.HEALTH": "attr-defined",
    'v3.Cluster("x")': "positional",
    "v3.Clusters()": "attr-defined",
    "v3.Cluster().connect_timeout = v3.Duration()": "read-only",
    'v3.VirtualHost(routes=[v3.RouteMatch(prefix="/")])': "list-item",
}


def test_mypy_reports_exactly_the_mistakes(tmp_path: Path) -> None:
    lines = [*GOOD.strip().splitlines(), *BAD]
    program = tmp_path / "program.py"
    program.write_text("\n".join(lines) + "\n")
    cache = ["--cache-dir", str(tmp_path / "cache"), "--hide-error-context", "--no-error-summary"]
    output, problems, _ = mypy.run(["--config-file", str(ROOT / "pyproject.toml"), *cache, str(program)])
    texts = [line for line in output.splitlines() if f"{program.name}:" in line and ": note:" not in line]
    first_bad = len(GOOD.strip().splitlines()) + 1
    assert not problems
    for number, (code, message) in enumerate(BAD.items(), start=first_bad):
        assert any(f":{number}: " in line and message in line for line in texts), (code, output)
    assert not [line for line in texts if int(line.split(":")[1]) < first_bad], output
