"""The generated files match the schema, and a stale file is reported."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from meshwright.control_plane.envoy import generate, v3
from meshwright.control_plane.envoy.codegen.descriptors import package_of, top_level
from meshwright.control_plane.envoy.codegen.missing_messages import MISSING_MESSAGES

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_check_committed_files_match_the_schema() -> None:
    assert generate.main(["--check"]) == 0


def test_check_reports_stale_files_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    descriptors = tmp_path / "descriptors.bin"
    descriptors.write_bytes(zlib.compress(zlib.decompress(generate.DESCRIPTORS.read_bytes())[:-1]))
    monkeypatch.setattr(generate, "DESCRIPTORS", descriptors)
    monkeypatch.setattr(generate, "STUBS", tmp_path / "v3.pyi")
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == (
        "stale: descriptors.bin, v3.pyi; run python -m meshwright.control_plane.envoy.generate\n"
    )


def test_unknown_argument_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(generate, "DESCRIPTORS", tmp_path / "descriptors.bin")
    monkeypatch.setattr(generate, "STUBS", tmp_path / "v3.pyi")
    assert generate.main(["--chek"]) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", MISSING_MESSAGES)
def test_schema_contains_messages_missing_in_envoy_data_plane(name: str) -> None:
    assert v3.POOL.FindMessageTypeByName(name).full_name == name


@pytest.mark.parametrize(
    "name",
    [
        "envoy.api.v2.Cluster",
        "envoy.config.filter.http.jwt_authn.v2alpha.JwtAuthentication",
        "validate.FieldRules",
    ],
)
def test_schema_omits_what_a_mesh_never_needs(name: str) -> None:
    with pytest.raises(KeyError):
        v3.POOL.FindMessageTypeByName(name)


def test_package_of_ends_at_the_first_capital() -> None:
    name = "envoy.config.route.v3.RouteAction.HashPolicy.Header"
    assert (package_of(name), top_level(name)) == (
        "envoy.config.route.v3",
        "envoy.config.route.v3.RouteAction",
    )


@pytest.mark.parametrize(
    "name", ["envoy.config.route.v3.RetryPolicy.ResetHeaderFormat", "envoy.config.core.v3.HealthStatus"]
)
def test_enums_have_envoys_names(name: str) -> None:
    assert v3.POOL.FindEnumTypeByName(name).full_name == name
