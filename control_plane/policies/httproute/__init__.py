"""HTTPRoute: routes requests by path, header, query and method."""
