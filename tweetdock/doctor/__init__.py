"""The doctor: looks at all that the gauge needs, in one round."""
