"""YAML documents: parse with positions, dump, diff, and map problems back to the text."""
