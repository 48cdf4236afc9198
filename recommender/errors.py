"""All errors that this project raises on purpose.

    RecommenderError                 one line: what was wrong, which value, what to do
    ├── SettingError                 a setting, option or argument that cannot be used   (a ValueError)
    ├── InputFileError               a CSV file that is missing, empty or of another shape
    │   ├── TooManyRejectedError     more faulty rows than the limit: probably the wrong file
    │   └── SuspectFileError         most products would go, or most ratings are of others: probably the wrong file
    ├── DatabaseError                the database refused, broke off or is not reachable
    │   └── WriteConflictError       deadlock or lock timeout: the transaction was undone and may be run again
    ├── StepOrderError               a step was run before the one it builds on
    ├── ForeignDataError             rows that this project did not make would be replaced
    ├── RatingError                  ratings that no cosine can be computed from         (a ValueError)
    ├── UnknownUserError             a user without any row in the tables                (a LookupError)
    ├── UnknownProductError          a product neither in the catalog nor rated          (a LookupError)
    ├── UnknownRatingError           a rating that was never given                       (a LookupError)
    ├── UnknownVersionError          a version that was never made, or whose lists are gone (a LookupError)
    ├── OtherPeopleError             lists or a model of others than the people in the tables now
    ├── NotPublishedError            a new version is worse than the published one or has too few lists: only kept
    ├── NothingToEvaluateError       no user has a rating that could be hidden
    ├── ModelFileError               a model file that is truncated, foreign or of another format
    ├── SparkError                   Spark does not start, or breaks off
    └── SelfCheckError               the trained model disagrees with the reference

A script's ``main()`` catches these, a database driver's own and Ctrl-C, and nothing else (``exit_status``). The message
goes to stderr. The exit status is 1, but 3 for NotPublishedError and 130 for Ctrl-C. Any other error is a fault of the
project's own and shows its stack trace.
"""

from __future__ import annotations

from collections.abc import Sequence


class RecommenderError(Exception):
    """Base of all errors that the caller can mend. The message is one line and holds the remedy."""


class SettingError(RecommenderError, ValueError):
    """A setting, an option or an argument has a value that cannot be used."""


class InputFileError(RecommenderError):
    """A CSV file is missing, empty, or not of the expected shape."""


class TooManyRejectedError(InputFileError):
    """More rows than allowed were rejected; the table was left as it was."""


class SuspectFileError(InputFileError):
    """The shop would lose most of its products, or most ratings are of products it does not have. --force insists."""


class DatabaseError(RecommenderError):
    """The database refused the connection or a statement, or went away."""


class WriteConflictError(DatabaseError):
    """Another transaction was in the way (a deadlock or a lock timeout). The step may be run again."""


class StepOrderError(RecommenderError):
    """A step was run before the one whose tables it reads."""


class ForeignDataError(RecommenderError):
    """The step would have replaced rows that this project did not make."""


class RatingError(RecommenderError, ValueError):
    """Ratings hold a value (NaN, infinite, negative, out of range) for which a cosine means nothing."""


class UnknownUserError(RecommenderError, LookupError):
    """The user is neither in the matrix nor in the tables."""

    def __init__(self, user_id: object, reason: str = "is unknown: the tables have nothing of that user_id") -> None:
        super().__init__(f"user {user_id} {reason}")
        self.user_id = user_id


class UnknownProductError(RecommenderError, LookupError):
    """The product is neither in the catalog nor rated."""

    def __init__(self, product_id: str) -> None:
        super().__init__(f"product {product_id} is unknown: it is neither in the catalog nor rated")
        self.product_id = product_id


class UnknownRatingError(RecommenderError, LookupError):
    """The user has not rated the product."""

    def __init__(self, user_id: int | str, product_id: str) -> None:
        super().__init__(f"user {user_id} has not rated product {product_id}")
        self.user_id, self.product_id = user_id, product_id


class UnknownVersionError(RecommenderError, LookupError):
    """There is no such version, or its lists have expired."""

    def __init__(self, number: int, kept: Sequence[int]) -> None:
        there = (
            f"those kept are {', '.join(map(str, kept))}" if kept else "no version is kept besides the published one"
        )
        super().__init__(f"version {number} cannot be published: {there}")
        self.number = number


class OtherPeopleError(RecommenderError):
    """Lists or a model are of other people than those whom the user_ids in the tables mean now."""


class NotPublishedError(RecommenderError):
    """A version was made and kept, not published: worse than the published one, or too few lists. Exit status 3."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"version {number} is kept, not published: {reason}; run with --force to publish it anyway")
        self.number = number


class NothingToEvaluateError(RecommenderError):
    """No user has two ratings or more with a recommendable product among the hidden ones."""


class ModelFileError(RecommenderError):
    """A model file is missing, truncated, damaged, or not one that this version of the project reads."""


class SparkError(RecommenderError):
    """Spark lacks what it needs, cannot be reached, or broke off."""


class SelfCheckError(RecommenderError):
    """Sampled cosines differ from scikit-learn's: the model must not be used."""
