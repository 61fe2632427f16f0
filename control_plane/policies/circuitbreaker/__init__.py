"""CircuitBreaker: when a service that fails is left alone, and how much may be under way towards it."""
