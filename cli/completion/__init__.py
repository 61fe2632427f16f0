"""Shell completion: a script for each shell, and what it asks on every Tab."""
