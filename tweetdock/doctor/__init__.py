"""The doctor: checks all that the gauge needs."""
