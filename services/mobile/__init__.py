"""Mobile: the backend of the phone."""
