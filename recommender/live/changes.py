"""What has changed since a model was built, and what is prepared to ask it all the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recommender.live.columns import LiveColumns
from recommender.live.cosine import LiveCosine
from recommender.live.popular import PopularOrder, Tally
from recommender.live.taste import LiveTaste
from recommender.live.users import LiveUser, Room, UserRecord, live_user
from recommender.model.served_model import ServedModel
from recommender.ranking.rankings import TasteSimilarity
from recommender.shop.catalog import Product
from recommender.shop.segments import UNKNOWN


class Changes:
    """What has changed since a model was built, and what is prepared to ask it all the same; changed in place."""

    def __init__(self, model: ServedModel) -> None:
        matrix, similarity = model.matrix, model.similarity
        self.model = model
        self.users: dict[int, LiveUser] = {}
        self.n_taken = 0
        self.columns = LiveColumns(model.products, matrix.recommendable)
        self.tally = Tally(matrix)
        self.popular = PopularOrder(model.popular, self.tally, self.columns)
        self.cosine = LiveCosine(similarity, matrix.user_ids)
        self.taste: LiveTaste | None = None
        if isinstance(similarity, TasteSimilarity):
            decays = similarity.profiles.times is not None
            self.taste = LiveTaste(similarity.taste.index, matrix.user_ids, decays=decays)
        self.room = Room()
        self.known_users, self.known_segments = model.known_users, model.known_segments

    def take(self, record: UserRecord, facts: Mapping[bytes, Product | None]) -> None:
        """Let the record be what there is of its user. ``facts``: of products that have no column."""
        self.n_taken += 1
        profile = record.profile(self.model.weights)
        missing = profile.names[self.columns.columns_of(profile.names) < 0].tolist()
        missing += [product for product in profile.others if self.columns.find(product.decode("ascii")) is None]
        for product in missing:
            self.columns.add(product, facts.get(product))
        self.room.reserve(len(self.columns))
        self.tally.reserve(len(self.columns))
        before = self.users.get(record.user_id) or self._as_built(record.user_id)
        segment = self._segment(record)
        user = live_user(record, self.columns, self.model.weights, row=before.row, segment=segment)
        self._count(before, user)
        if record.user_id in self.users:
            if self.taste is not None:
                self.taste.forget(before)
        elif before.row >= 0:
            self.cosine.hide(before.row)
            if self.taste is not None:
                self.taste.hide(before.row)
        self.users[record.user_id] = user
        self._know(user)

    def _as_built(self, user_id: int) -> LiveUser:
        """The user as the model has it, with ratings alone."""
        matrix = self.model.matrix
        row = int(np.searchsorted(matrix.user_ids, user_id))
        if row == len(matrix.user_ids) or matrix.user_ids[row] != user_id:
            return LiveUser(user_id, np.empty(0, np.int32), np.empty(0, np.int8), np.empty(0), None)
        part = slice(*matrix.half_stars.indptr[row : row + 2])
        columns, half_stars = matrix.half_stars.indices[part], matrix.half_stars.data[part]
        return LiveUser(user_id, columns, half_stars, np.ones(len(columns)), None, row=row)

    def _count(self, before: LiveUser, after: LiveUser) -> None:
        was, now = before.rated(), after.rated()
        self.tally.add(*was, -1)
        self.tally.add(*now, 1)
        ours, theirs = (columns.astype(np.int64) << 4 | half_stars for columns, half_stars in (was, now))
        self.popular.move(np.unique(np.setxor1d(ours, theirs) >> 4).astype(np.int32))

    def _segment(self, record: UserRecord) -> int:
        names, pair = self.model.segment_names, (record.country or "", record.age_group or "")
        return names.index(pair) if pair in names else UNKNOWN

    def _know(self, user: LiveUser) -> None:
        """Keep the list of known users, and their segments, as the tables have them."""
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
        elif there and len(self.known_segments) and self.known_segments[at] != user.segment:
            self.known_segments = self.known_segments.copy()
            self.known_segments[at] = user.segment
