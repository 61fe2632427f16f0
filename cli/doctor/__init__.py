"""`mesh doctor`: facts about the host and the mesh are gathered, and judged by pure checks."""
