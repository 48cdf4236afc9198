"""The changes since a model was built, and the indexes that answer with them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from recommender.fallback import PopularProducts
from recommender.live.columns import LiveColumns
from recommender.live.cosine import LiveCosine
from recommender.live.index import LiveIndex
from recommender.live.owners import Owners, Pair
from recommender.live.popular import Tally, moved
from recommender.live.taste import LiveTaste
from recommender.live.users import LiveUser, UserRecord, live_user
from recommender.model import ServedModel
from recommender.ranking import BY_TASTE, TasteSimilarity
from recommender.shop import NO_SEGMENT, Product

Facts = Mapping[bytes, Product | None]
Rated = tuple[NDArray[np.int32], NDArray[np.int8]]  # columns and steps


class Changes:
    """The state of all changes. It never changes itself: `after` returns a new one with more changes."""

    def __init__(self, model: ServedModel) -> None:
        matrix, similarity = model.matrix, model.similarity
        self.model = model
        self.ids = matrix.ids
        self.users: dict[int, LiveUser] = {}
        self.columns = LiveColumns(model.products, matrix.recommendable)
        self.tally = Tally(matrix)
        self.popular_order = model.popular.columns
        self._popular: PopularProducts | None = None  # made when first asked for
        self.cosine = LiveCosine(similarity, matrix.user_ids)
        self.taste: LiveTaste | None = None
        if isinstance(similarity, TasteSimilarity):
            decays = similarity.profiles.times is not None
            self.taste = LiveTaste(similarity.taste.votes, matrix.user_ids, decays=decays)
        self._name()
        self.owners: Owners | None = None  # only the item model needs them
        if isinstance(similarity, TasteSimilarity) and similarity.item_weights is not None:
            given = similarity.profiles.confidences.indices
            self.owners = Owners(np.bincount(given, minlength=matrix.shape[1]))
        self.known_users, self.known_segments = model.known_users, model.known_segments

    def index(self, ranking: str) -> LiveIndex:
        """Return the index that finds the neighbors for a ranking."""
        return self.taste if ranking in BY_TASTE and self.taste is not None else self.cosine

    def after(self, records: Iterable[UserRecord], facts: Facts) -> Changes:
        """Return the changes with these records in place of their users' old data.

        ``facts``: of products that have no column.
        """
        new, records = copy.copy(self), list(records)
        new.users = self.users.copy()
        new.columns = self._columns_for(records, facts)
        new.cosine, new.taste = self.cosine.copy(), self.taste.copy() if self.taste else None
        new.ids = self.ids.with_later({record.user_id: record.name for record in records if record.name is not None})
        new._name()
        if self.owners is not None:
            new.owners = self.owners.after(self._columns_before_and_after(records, new.columns))
        pairs = [new._take(record) for record in records]
        changed = np.unique(np.concatenate([np.empty(0, np.int32), *(_differing(*pair) for pair in pairs)]))
        if len(changed) or new.columns is not self.columns:
            new.tally = self.tally.copy(len(new.columns))
            for was, now in pairs:
                new.tally.add(*was, -1)
                new.tally.add(*now, 1)
            new.popular_order = moved(self.popular_order, changed, new.tally, new.columns)
            new._popular = None
        return new

    def forked(self) -> Changes:
        """Return the same changes with memory of their own to grow in."""
        new = copy.copy(self)
        new.cosine, new.taste = self.cosine.forked(), self.taste.forked() if self.taste else None
        return new

    def _name(self) -> None:
        """Let the indexes know the order of the shop's ids."""
        for index in (self.cosine, self.taste):
            if index is not None:
                index.ids = self.ids

    @property
    def popular(self) -> PopularProducts:
        """The recommendable products that somebody rated, most popular first, as of now."""
        if (found := self._popular) is None:
            found = self._popular = self.tally.popular(self.popular_order)
        return found

    def _columns_before_and_after(self, records: Sequence[UserRecord], columns: LiveColumns) -> Iterator[Pair]:
        """Yield the columns of each record's user before it and after it. A user may come twice."""
        latest: dict[int, NDArray[np.int32]] = {}
        for record in records:
            now, before = columns.columns_of(record.profile(self.model.weights).names), latest.get(record.user_id)
            yield self._columns_of(record.user_id) if before is None else before, now
            latest[record.user_id] = now

    def _columns_of(self, user_id: int) -> NDArray[np.int32]:
        """Return the columns of a user's profile before these changes."""
        if (user := self.users.get(user_id)) is not None:
            return user.columns
        row, similarity = self._as_built(user_id).row, self.model.similarity
        assert isinstance(similarity, TasteSimilarity)
        return np.empty(0, np.int32) if row < 0 else similarity.profiles.columns_of(row)

    def _columns_for(self, records: Iterable[UserRecord], facts: Facts) -> LiveColumns:
        """Return the numbering with columns for all products of the records."""
        missing = [product for product in sorted(products_of(records)) if self._find(product) is None]
        return self.columns.added((product, facts.get(product)) for product in missing) if missing else self.columns

    def _find(self, product: bytes) -> int | None:
        return self.columns.find(product.decode())

    def _take(self, record: UserRecord) -> tuple[Rated, Rated]:
        """Put the record in place of the user's old data. Return the ratings before and after."""
        before = self.users.get(record.user_id) or self._as_built(record.user_id)
        segment = self._segment(record)
        user = live_user(record, self.columns, self.model.weights, row=before.row, segment=segment)
        self.cosine.take(user)
        if self.taste is not None:
            self.taste.take(user)
        self.users[record.user_id] = user
        self._know(user)
        return before.rated(), user.rated()

    def _as_built(self, user_id: int) -> LiveUser:
        """Return the user of the model, with ratings alone."""
        matrix = self.model.matrix
        row = matrix.row_of_number(user_id)
        if row is None:
            return LiveUser(user_id, np.empty(0, np.int32), np.empty(0, np.int8), np.empty(0), None)
        part = slice(*matrix.steps.indptr[row : row + 2])
        columns, steps = matrix.steps.indices[part], matrix.steps.data[part]
        return LiveUser(user_id, columns, steps, np.ones(len(columns)), None, row=row)

    def _segment(self, record: UserRecord) -> int:
        names, pair = self.model.segment_names, (record.country or "", record.age_group or "")
        return names.index(pair) if pair in names else NO_SEGMENT

    def _know(self, user: LiveUser) -> None:
        """Keep the known users as they are in the tables. The segment of a changed user is that of the `LiveUser`."""
        at = int(np.searchsorted(self.known_users, user.user_id))
        there = at < len(self.known_users) and self.known_users[at] == user.user_id
        if user.known and not there:
            self.known_users = np.insert(self.known_users, at, user.user_id)
            if len(self.known_segments):
                self.known_segments = np.insert(self.known_segments, at, user.segment)
        elif there and not user.known:
            self.known_users = np.delete(self.known_users, at)
            if len(self.known_segments):
                self.known_segments = np.delete(self.known_segments, at)


def _differing(was: Rated, now: Rated) -> NDArray[np.int32]:
    """Return the columns of which there is another rating, or one more or less."""
    ours, theirs = (columns.astype(np.int64) << 8 | steps for columns, steps in (was, now))
    return (np.setxor1d(ours, theirs) >> 8).astype(np.int32)


def products_of(records: Iterable[UserRecord]) -> set[bytes]:
    """Return all products that the records name."""
    return {product for record in records for product, *_ in chain(record.ratings, record.events)}
