"""The messages of `market.proto`. `market.pyi` has their types."""

from __future__ import annotations

from meshwright.services.rpc.messages import build_messages

SERVICE = "market.MarketDataService"
METHOD = "SendMarketData"

MarketDataRequest, MarketDataResponse = build_messages(
    SERVICE,
    (METHOD, "MarketDataRequest", "MarketDataResponse"),
    {
        "MarketDataRequest": {"assetSymbol": "string", "price": "double", "timestamp": "int64"},
        "MarketDataResponse": {"success": "bool"},
    },
)
