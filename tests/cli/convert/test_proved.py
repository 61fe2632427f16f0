"""What `mesh convert` makes of examples behaves on real Envoys as the other mesh's documentation says."""

from __future__ import annotations

from pathlib import Path

from tests.envoy.harness import settings
from tests.fakes.mesh_command import run_mesh

EXAMPLE = Path(__file__).parent / "proved"
SOURCES = (
    ("istio", "istio.yaml"), ("istio", "istio-rules.yaml"), ("istio", "kubernetes.yaml"),
    ("kuma", "kuma.yaml"), ("consul", "consul.hcl"),
)  # fmt: skip


def test_converted_documents_behave_as_their_originals(tmp_path: Path) -> None:
    environment, policies = settings(tmp_path / "state"), str(tmp_path / "policies")
    for form, source in SOURCES:
        file = ("--application", str(tmp_path / "application.yaml")) if source == "kubernetes.yaml" else ()
        argv = ("convert", form, source, "-o", policies, "--strict", *file)
        converted = run_mesh(argv, environment, EXAMPLE)
        assert converted.returncode == 0, converted.stderr
    tests = ("test", "tests.yaml", "-f", policies, "--timeout", "2m")
    done = run_mesh(tests, environment, EXAMPLE, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
