"""`mesh test`: cases that say what policies do to a request, run against real Envoys of their own."""
