"""Certificate: a certificate with its key, or a CA, in files of a gateway's node."""
