"""Dealers' quotes, which legacy and trading both keep while one takes over from the other."""
