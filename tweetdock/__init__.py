"""TweetDock: a hashtag's pulse on two physical dials."""

__version__ = "0.1.0"
