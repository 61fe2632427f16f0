"""`mesh convert`: another mesh's configuration as ours. Only `command` reads or writes; the rest is pure."""
