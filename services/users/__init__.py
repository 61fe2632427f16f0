"""Users: people, their sessions and roles, and the keys that sign their tokens."""
