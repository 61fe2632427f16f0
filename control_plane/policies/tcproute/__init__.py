"""TCPRoute: where a TCP connection goes."""
