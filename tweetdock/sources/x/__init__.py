"""X: its search, its filtered stream, and what they cost."""
