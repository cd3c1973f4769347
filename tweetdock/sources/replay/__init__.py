"""Recordings, played again."""
