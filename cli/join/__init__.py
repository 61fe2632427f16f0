"""How a process joins a running mesh: `mesh run` and `mesh agent`."""
