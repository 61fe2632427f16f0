"""Keeps the log of gRPC's C core off stderr, which is the user's terminal."""

from __future__ import annotations

import os
import sys

VARIABLE = "GRPC_VERBOSITY"


def silence_grpc() -> None:
    """Turn the log off, unless GRPC_VERBOSITY is set or gRPC is already imported.

    gRPC reads the variable when it is imported and when the first channel is created. It is unset again at
    once, since the app inherits this environment.
    """
    if VARIABLE in os.environ or "grpc" in sys.modules:
        return
    os.environ[VARIABLE] = "NONE"
    try:
        import grpc

        grpc.insecure_channel("127.0.0.1:1").close()
    finally:
        del os.environ[VARIABLE]
