"""What sidecars and services tell: taken in under mutual TLS, folded into the picture of who calls whom."""
