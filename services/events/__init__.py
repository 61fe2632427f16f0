"""Events between services: an outbox in the transaction of a change, Redis Streams, and their consumers."""
