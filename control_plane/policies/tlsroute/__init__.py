"""TLSRoute: routes TLS connections by host name."""
