from typing import Final

from google.protobuf.message import Message

SERVICE: Final[str]
METHOD: Final[str]

class MarketDataRequest(Message):
    assetSymbol: str
    price: float
    timestamp: int
    def __init__(self, *, assetSymbol: str = ..., price: float = ..., timestamp: int = ...) -> None: ...

class MarketDataResponse(Message):
    success: bool
    def __init__(self, *, success: bool = ...) -> None: ...
