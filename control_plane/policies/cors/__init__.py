"""CORS: which pages of other origins may call."""
