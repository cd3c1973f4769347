"""The needles: one file a backend, and the thread that moves and rests them."""
