"""The archive's files: what is in them, how they are written, named, read and mended."""
