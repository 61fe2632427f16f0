"""HeaderPolicy: sets, adds and removes headers."""
