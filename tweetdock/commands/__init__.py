"""The commands beside the gauge itself, one file each."""
