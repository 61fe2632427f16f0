"""TCPRoute: routes TCP connections."""
