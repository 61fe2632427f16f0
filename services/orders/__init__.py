"""Orders: an event log of what became of each order, and a read model beside it."""
