"""CircuitBreaker: ejects failing instances and limits load."""
