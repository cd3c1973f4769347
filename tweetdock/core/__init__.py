"""The pure core: no clock, socket, thread, file or log."""
