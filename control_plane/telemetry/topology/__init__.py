"""Who calls whom, how often and how well: computed from the metrics of sidecars. Pure."""
