"""RequestLimits: how large requests may be."""
