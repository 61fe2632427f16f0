"""The messages of `users.proto`. `users.pyi` has their types."""

from __future__ import annotations

from meshwright.services.rpc.messages import build_messages

SERVICE = "users.UserService"
METHOD = "GetUser"

GetUserRequest, User = build_messages(
    SERVICE,
    (METHOD, "GetUserRequest", "User"),
    {"GetUserRequest": {"id": "string"}, "User": {"id": "string", "name": "string"}},
)
