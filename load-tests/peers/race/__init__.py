"""The race: jtav and its peers label the same feed, one after the other, and are measured from outside."""

import sys
import time


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
