"""What every screen is made of: header, keys, table, search."""
