"""The exchange's broker: a Valkey of its own, for events and jobs. Services reach it as a TCP service."""
