"""What the process says of itself when it ends, if that is not 0."""

EXIT_BUG = 1
EXIT_SETTINGS = 2
EXIT_UNAVAILABLE = 69
EXIT_INTERRUPTED = 130
