"""What sidecars and services tell, passed on to a collector: taken apart by nobody, kept while it is away."""
