"""What the harness of real meshes promises to those who use it."""

from __future__ import annotations

import subprocess
import sys

from tests.envoy.harness import ROOT

PROGRAM = """
import os, signal
from tests.envoy.harness import interrupted_by_sigterm
try:
    with interrupted_by_sigterm():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            print("mesh stopped", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
signal.pause()
"""


def test_a_sigterm_lets_a_benchmark_stop_its_mesh_before_it_ends() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.stdout.splitlines() == ["mesh stopped", "interrupted"], ran.stderr
    assert ran.returncode == -15  # the handler from before is back
