"""Analytics: what the market did, by symbol and minute."""
