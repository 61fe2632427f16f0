"""`mesh backup` and `mesh restore`: a whole mesh as one file."""
