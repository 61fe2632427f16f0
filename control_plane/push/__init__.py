"""A staged push: a new revision reaches the affected proxies in waves, and is withdrawn if it does harm."""
