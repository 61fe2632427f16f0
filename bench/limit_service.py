"""A rate limit service that lets every request pass: what it costs a proxy to ask one.

`python -m bench.limit_service` prints its port and serves until it is terminated.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.limits.service import METHOD, SERVICE


@contextmanager
def limit_service() -> Iterator[tuple[int, int]]:
    """The service in a process of its own, in plaintext; gives its port on 127.0.0.1 and its pid."""
    command = [sys.executable, "-m", "bench.limit_service"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline()), process.pid
        finally:
            process.terminate()


def main() -> None:
    """Serve."""
    passed = codec.encode(v3.RateLimitResponse(overall_code=v3.RateLimitResponse.OK))
    handler = grpc.unary_unary_rpc_method_handler(lambda body, context: passed)  # noqa: ARG005
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
