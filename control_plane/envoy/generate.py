"""Write `descriptors.bin` and `v3.pyi`: `python -m meshwright.control_plane.envoy.generate [--check]`.

Build time only; needs the extra `schema`. With `--check` it writes nothing and exits with status 1 if a
committed file is stale.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

from meshwright.control_plane.envoy.codegen.descriptors import derive_descriptors
from meshwright.control_plane.envoy.codegen.prune import prune
from meshwright.control_plane.envoy.codegen.stubs import render
from meshwright.control_plane.envoy.messages import ENUMS, MESSAGES
from meshwright.control_plane.envoy.pool import join, load

HERE = Path(__file__).parent
DESCRIPTORS = HERE / "descriptors.bin"
STUBS = HERE / "v3.pyi"


def stale(descriptors: bytes, stubs: str) -> list[str]:
    """Names of stale files. Descriptors are compared uncompressed: zlib's output varies."""
    names = []
    if not DESCRIPTORS.exists() or zlib.decompress(DESCRIPTORS.read_bytes()) != descriptors:
        names.append(DESCRIPTORS.name)
    if not STUBS.exists() or STUBS.read_text() != stubs:
        names.append(STUBS.name)
    return names


def main(arguments: list[str]) -> int:
    """Generate or check; returns the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m meshwright.control_plane.envoy.generate [--check]\n")
        return 2
    descriptors = join([file.SerializeToString(deterministic=True) for file in prune(derive_descriptors())])
    stubs = render(load(descriptors), MESSAGES, ENUMS)
    if arguments:
        names = stale(descriptors, stubs)
        if names:
            sys.stderr.write(
                f"stale: {', '.join(names)}; run python -m meshwright.control_plane.envoy.generate\n"
            )
        return 1 if names else 0
    DESCRIPTORS.write_bytes(zlib.compress(descriptors, 9))
    STUBS.write_text(stubs)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
