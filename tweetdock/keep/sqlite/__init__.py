"""The state's SQLite file: its tables, what their values mean, and the history in it."""
