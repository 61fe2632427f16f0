"""What `mesh convert` makes of examples behaves on real Envoys as the other mesh's documentation says."""

from __future__ import annotations

from pathlib import Path

from tests.envoy.harness import settings
from tests.fakes.mesh_command import run_mesh

EXAMPLE = Path(__file__).parent / "proved"


def test_converted_documents_behave_as_their_originals(tmp_path: Path) -> None:
    environment, policies = settings(tmp_path / "state"), str(tmp_path / "policies")
    for source in ("istio.yaml", "kuma.yaml", "consul.hcl"):
        argv = ("convert", source.partition(".")[0], source, "-o", policies, "--strict")
        converted = run_mesh(argv, environment, EXAMPLE)
        assert converted.returncode == 0, converted.stderr
    argv = ("test", "tests.yaml", "-f", policies, "--timeout", "2m")
    done = run_mesh(argv, environment, EXAMPLE, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
