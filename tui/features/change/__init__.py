"""Sheets: forms that change the traffic of a service or an edge by writing its policies."""
