"""What others read of the gauge."""
