"""Subset: the instances of a service that carry certain labels."""
