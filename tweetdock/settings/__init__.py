"""Every setting: its name, how it is read, and what does not go together."""
