"""`python -m tweetdock`."""

import sys

from tweetdock.cli import main

sys.exit(main())
