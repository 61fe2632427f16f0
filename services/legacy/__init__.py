"""Legacy: the old monolith's quotes, which trading takes over step by step."""
