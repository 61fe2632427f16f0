"""Several control planes of one mesh: each knows the others and asks them for what it does not see itself."""
