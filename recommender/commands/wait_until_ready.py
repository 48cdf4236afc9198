"""A command that waits until a starting service answers, then prints a request to try. Used by ``make run``.

python -m recommender.commands.wait_until_ready http://127.0.0.1:8000 & exec uvicorn api:app
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request

POLL = 0.1  # seconds


def main(arguments: list[str] | None = None) -> int:
    """Return 0 once ``/health`` answers; 1 if the service, the parent of this process, ends before that."""
    parser = argparse.ArgumentParser(description="Wait until the service answers.")
    parser.add_argument("address", help="of the service, such as http://127.0.0.1:8000")
    address = parser.parse_args(arguments).address
    service = os.getppid()
    while os.getppid() == service:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
                health = json.load(answer)
        except (urllib.error.URLError, OSError, ValueError):
            time.sleep(POLL)  # not ready yet
            continue
        key = ""
        if "users" in health:
            print(f"\n{health['users']:,} users, {health['products']:,} products, {health['ratings']:,} ratings. Try:")
        else:  # REQUIRE_KEY=all
            print("\nReady. Every request needs a key. Try:")
            key = "-H 'X-API-Key: ...' "
        print(
            f"\n    curl {key}{address}/recommendations/42\n\nLook at it: {address}/\n\nCtrl-C stops the service.",
            flush=True,
        )
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
