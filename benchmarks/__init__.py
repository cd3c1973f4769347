"""What TweetDock costs, beside other ways to the same numbers: `python -m benchmarks`."""
