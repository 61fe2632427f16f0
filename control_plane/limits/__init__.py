"""Global rate limits: Envoy's rate limit service protocol, with the counters in the store."""
