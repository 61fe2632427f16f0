"""Authorization: who may call what."""
