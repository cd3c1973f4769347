"""A dial's face on paper."""
