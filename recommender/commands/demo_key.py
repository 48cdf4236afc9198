"""A random key for ``make run``, for the case that API_KEY is set neither in the environment nor in ``.env``.

python -m recommender.commands.demo_key      # prints a key, or nothing if one is set; stores it nowhere
"""

from __future__ import annotations

import secrets
import sys

from recommender.errors import RecommenderError
from recommender.settings import load_settings


def main() -> int:
    """Print the key. The status is 1, with one line on stderr, if the settings cannot be used."""
    try:
        configured = load_settings().api_key.strip(" ,")
    except RecommenderError as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    if not configured:
        print(secrets.token_hex(24))
    return 0


if __name__ == "__main__":
    sys.exit(main())
