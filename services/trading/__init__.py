"""Trading: a small simulated market with ticks and quotes."""
