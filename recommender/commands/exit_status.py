"""How a script ends when something foreseen went wrong: one line on stderr, and a status."""

from __future__ import annotations

import sys

from recommender.database import DRIVER_ERRORS
from recommender.errors import NotPublishedError, RecommenderError

# a driver's own errors are DatabaseErrors by the time they come here, unless they came where nobody waited for one
FORESEEN = (RecommenderError, *DRIVER_ERRORS, KeyboardInterrupt)
FAILED, ONLY_KEPT, INTERRUPTED = 1, 3, 130


def exit_status(script: str, error: BaseException) -> int:
    """Print what is wrong, one line on stderr, and return the exit status of ``script``.

    ``error`` is one of FORESEEN; any other is a fault of the project's own, which must be seen with its stack trace.
    """
    print(f"{script}: {one_line(error)}", file=sys.stderr)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return ONLY_KEPT if isinstance(error, NotPublishedError) else FAILED


def one_line(error: BaseException) -> str:
    """What the error says, without the statement that a driver adds."""
    if isinstance(error, RecommenderError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run the step again, it starts clean"
    cause = getattr(error, "orig", None) or error
    reason = str(cause.args[-1] if cause.args else type(cause).__name__).splitlines() or [type(cause).__name__]
    return f"the database broke off or refused ({reason[0][:300]}); see whether it is well, then run the step again"
