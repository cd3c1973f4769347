"""The real loop, its threads, sources, gauge and state in virtual time, against model networks."""
