"""The pure parts of the services."""
