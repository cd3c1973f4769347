"""The tables of the state, and the steps that lead an older file to them."""

# Each step is run once, in one transaction; a released one is never changed, only followed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # What there is one of: the salt, when it was saved, each dial's scale and needle.
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
        # The window, in the order in which it came to be: a later row of a key removes the post.
        """CREATE TABLE marks (
            source TEXT NOT NULL, key INTEGER NOT NULL, author INTEGER NOT NULL,
            at_ms INTEGER NOT NULL
        )""",
        # What each source was asked for and has seen, in JSON, and its own word of where it is.
        """CREATE TABLE sources (
            name TEXT PRIMARY KEY, subject TEXT NOT NULL, spans TEXT NOT NULL,
            unreadable TEXT NOT NULL, heard_ms INTEGER NOT NULL, cursor TEXT NOT NULL
        ) WITHOUT ROWID""",
        # What was asked of a source in a day (UTC), and how many posts it returned: what it bills.
        """CREATE TABLE spent (
            day TEXT, source TEXT, requests INTEGER NOT NULL, posts INTEGER NOT NULL,
            PRIMARY KEY (day, source)
        ) WITHOUT ROWID""",
        # Readings by the minute and by the hour.
        """CREATE TABLE history (
            per TEXT, at_ms INTEGER, posts INTEGER NOT NULL, authors INTEGER NOT NULL,
            grade TEXT NOT NULL, window_seconds REAL NOT NULL, subject TEXT NOT NULL,
            PRIMARY KEY (per, at_ms)
        ) WITHOUT ROWID""",
    ),
)
