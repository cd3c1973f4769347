"""Stand-ins that speak the real protocols over loopback, for tests without a network."""
