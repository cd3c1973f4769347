"""Mastodon: the tag timelines of its servers, and their streams."""
