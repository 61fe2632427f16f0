"""Asks users by gRPC whether a person exists, through the sidecar (`grpc_proxy`)."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import grpc
from opentelemetry.propagate import inject

from meshwright.services.kit.client import ServiceUnavailableError
from meshwright.services.rpc import users

CALL_SECONDS = 10.0
"""The last resort for a call that the mesh fails to end."""

CHANNEL_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 2000))


class UserDirectory:
    """A gRPC channel to users, used as an async context manager."""

    def __init__(self, target: str) -> None:
        self._target = target

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._target, options=list(CHANNEL_OPTIONS))
        self._call = self._channel.unary_unary(
            f"/{users.SERVICE}/{users.METHOD}",
            request_serializer=users.GetUserRequest.SerializeToString,
            response_deserializer=users.User.FromString,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close(None)

    async def exists(self, user_id: str) -> bool:
        """Whether there is a person with this id. Raises ServiceUnavailableError."""
        carrier: dict[str, str] = {}
        inject(carrier)
        try:
            await self._call(
                users.GetUserRequest(id=user_id), timeout=CALL_SECONDS, metadata=tuple(carrier.items())
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return False
            reason = f"{error.code().name}: {error.details()}"
            raise ServiceUnavailableError("users", reason) from error
        return True
