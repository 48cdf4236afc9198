"""The end of a script: after a foreseen error one line on stderr, and an exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from recommender.database import DRIVER_ERRORS
from recommender.errors import NotPublishedError, RecommenderError

# a driver's own errors are DatabaseErrors by now, unless they came where no code expected one
FORESEEN = (RecommenderError, *DRIVER_ERRORS, KeyboardInterrupt)
FAILED, ONLY_KEPT, INTERRUPTED, UNREAD = 1, 3, 130, 141


def status_of(main: Callable[[], int]) -> int:
    """Return the exit status of a script's ``main``. If nobody reads its output any more, it ends quietly: UNREAD.

    So do other programs, as in ``| head``; the number is that of a shell for SIGPIPE. Tables are then as before a step
    or as after it. From now on Ctrl-C is a KeyboardInterrupt, which ``main`` tells in one line.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more
        return UNREAD


def exit_status(script: str, error: BaseException) -> int:
    """Print the error, one line on stderr, and return the exit status of ``script``.

    ``error`` is one of FORESEEN. Any other error is a fault of the project's own and must show its stack trace.
    """
    print(f"{script}: {one_line(error)}", file=sys.stderr)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return ONLY_KEPT if isinstance(error, NotPublishedError) else FAILED


def one_line(error: BaseException) -> str:
    """Return the message of the error, without the statement that a driver adds."""
    if isinstance(error, RecommenderError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run the step again, it starts clean"
    cause = getattr(error, "orig", None) or error
    reason = str(cause.args[-1] if cause.args else type(cause).__name__).splitlines() or [type(cause).__name__]
    return f"the database broke off or refused ({reason[0][:300]}); check the database server, then run the step again"
