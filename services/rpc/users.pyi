from typing import Final

from google.protobuf.message import Message

SERVICE: Final[str]
METHOD: Final[str]

class GetUserRequest(Message):
    id: str
    def __init__(self, *, id: str = ...) -> None: ...

class User(Message):
    id: str
    name: str
    def __init__(self, *, id: str = ..., name: str = ...) -> None: ...
