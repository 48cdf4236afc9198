"""The errors of Spark in one line each: the last cause in words, never a stack trace of Java or of a worker."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from recommender import errors
from recommender.errors import RecommenderError, SparkError

_OURS = re.compile(r"^(?:\S+: )?recommender\.errors\.(\w+): (.+)$", re.M)
_PYTHON = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Interrupt)): (.+)$", re.M)
_READING = re.compile(r"while reading file (?:file:(?=/))?(\S+?)\.(?:\s|$)")
_MOST = 300  # characters of a reason


@contextmanager
def explained(*, verbose: bool = False) -> Iterator[None]:
    """Turn an error of Spark inside the block into one line: a SparkError, or the error of ours that a worker raised.

    Errors of the rest of the program pass as they are. ``verbose``: print the whole error first.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except RecommenderError:
        raise
    except (PySparkException, Py4JError) as error:
        if verbose:
            print(_text_of(error), file=sys.stderr)
        reason = cause_in(error) or "its driver process ended"
        raise ours_in(error) or SparkError(f"Spark: {reason}; --verbose shows its log") from error
    except ConnectionError as error:  # of py4j: the JVM is gone
        raise SparkError(f"Spark's driver process ended ({error}); --verbose shows its log") from error


def ours_in(error: BaseException) -> RecommenderError | None:
    """Return the error of this project that a worker raised; None if another one stopped the job."""
    found = _OURS.findall(_text_of(error))
    if not found:
        return None
    kind = getattr(errors, found[-1][0], SparkError)
    try:
        made: RecommenderError = kind(found[-1][1])
    except TypeError:
        return SparkError(found[-1][1])
    return made


def cause_in(error: BaseException) -> str:
    """Return the last cause of an error of Spark or py4j in words, without its stack trace; "" if it tells none.

    The words of an error of Java are still in the JVM, so one that has ended tells none.
    """
    text = _text_of(error)
    if "PYTHON_VERSION_MISMATCH" in text:
        found = re.search(r"worker (?:has a )?different version:? (\S+) than that in\s+driver:? ([\d.]+)", text)
        versions = f"{found[1]}, this is {found[2]}" if found else "of another version"
        return f"a worker has Python {versions}: set PYSPARK_PYTHON to the same everywhere"
    if missing := re.search(r'Cannot run program "([^"]+)"', text):
        return f"a worker cannot run {missing[1]}: set PYSPARK_PYTHON to a Python that all workers have"
    told = ""
    with suppress(*_gone()):
        told = _java_cause(getattr(error, "java_exception", None)) or _java_cause(getattr(error, "_origin", None))
    python = _PYTHON.findall(told or text)
    if "Traceback (most recent call last)" in (told or text) and python:
        return _one_line(": ".join(python[-1]))
    return _one_line(told or text)


def _text_of(error: BaseException) -> str:
    """Return the words of an error; "" if they were in a JVM that has ended."""
    with suppress(*_gone()):
        return str(error)
    return ""


def _gone() -> tuple[type[Exception], ...]:
    """Return what asking a JVM that has ended raises."""
    from py4j.protocol import Py4JNetworkError

    return ConnectionError, Py4JNetworkError


def _java_cause(thrown: Any) -> str:
    """Return the message of the innermost cause of a Java error, and the file that it was reading."""
    said = file = ""
    for _ in range(20):
        if thrown is None:
            break
        message = thrown.getMessage()
        file = found[1] if (found := _READING.search(message or "")) else file
        said = f"{thrown.getClass().getSimpleName()}: {message}" if message else said or thrown.getClass().getName()
        thrown = thrown.getCause()
    return f"{said} in {file}" if file and file not in said else said


def _one_line(text: str) -> str:
    """Return the first line that tells a reason, of a text that may go on with a stack trace."""
    reasons = re.findall(r"Lost task .*?\): (.+?)(?:\n|$)", text)
    line = reasons[-1] if reasons else next((one for one in text.splitlines() if one.strip()), "")
    line = re.sub(r"^(?:[a-z]\w*\.)+(?=[A-Z]\w*(?:Exception|Error): )", "", line.strip())
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:_MOST]
