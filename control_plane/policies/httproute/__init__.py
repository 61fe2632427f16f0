"""HTTPRoute: where a request goes, by path, header, query and method."""
