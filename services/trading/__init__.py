"""Trading: a small market, its ticks and quotes."""
