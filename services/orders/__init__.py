"""Orders: an event log of each order, and a read model."""
