"""What outlives the process: the state in SQLite, the archive of raw posts."""
