"""FaultInjection: deliberate delays and failures."""
