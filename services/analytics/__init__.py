"""Analytics: price bars of the market, by symbol and minute."""
