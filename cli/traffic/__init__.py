"""The traffic of `mesh demo --traffic`: a plan, the sender, its counters, and an optional fault."""
