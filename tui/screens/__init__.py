"""The places of the dashboard, a file each."""
