"""The model with every rating and interaction that came after it was built: what a model built now would answer.

The arrays of the model stay as they are. Users who have changed are hidden in them and kept beside them as the tables
have them now; whoever asks is compared with both. As long as neither the user nor a neighbor has changed, the answer is
computed by compiled code alone, else a part of it in numpy by the same operations in the same order: equal to the last
digit to an answer of a model that is built anew. What is of the model's own time, not of now: in rankings by taste the
raters of products, the number of users and the biases, and what lists are filled up from; similar products; people's
country and age group; the catalog, but for products that somebody has rated or turned to since.

`LiveModel.after` gives the model after a change and shares almost everything with the one before, which must not be
asked from then on. Changes and questions belong on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from recommender.errors import UnknownProductError, UnknownUserError
from recommender.fallback._cold_start_kernels import Cap
from recommender.fallback.popular import PopularProducts
from recommender.fallback.walked_lists import Near as Given
from recommender.fallback.walked_lists import OneList
from recommender.live.changes import Changes
from recommender.live.cosine import Near
from recommender.live.ranking import Gathered, rank_now
from recommender.live.users import Crowd, LiveUser, UserRecord, live_user
from recommender.model.list_request import Cut, Wish, allowed_products
from recommender.model.neighborhood import Neighborhood, Owned
from recommender.model.served_model import Answer, Recommendation, ServedModel, as_recommendations
from recommender.ranking.rankings import BY_TASTE, CLASSIC, TasteSimilarity
from recommender.ranking.taste import TasteRanker
from recommender.shop.catalog import Product
from recommender.shop.ratings import STARS_PER_UNIT

NOBODY = 0  # the user_id of a basket


class LiveModel(ServedModel):
    """A ``ServedModel`` with the changes since it was built."""

    changes: Changes
    n_taken: int  # how many changes there were

    def __init__(self, changes: Changes) -> None:
        fields = {name: value for name, value in vars(changes.model).items() if name != "popular"}
        own = {"known_users": changes.known_users, "known_segments": changes.known_segments}
        own |= {"products": changes.columns, "changes": changes, "n_taken": changes.n_taken}
        self.__dict__ |= fields | own  # a frozen dataclass is set up once, and here

    @classmethod
    def of(cls, model: ServedModel) -> LiveModel:
        """The model before any change."""
        return cls(Changes(model))

    def after(self, records: Iterable[UserRecord], facts: Mapping[bytes, Product | None]) -> LiveModel:
        """The model once each record is what there is of its user; this one must not be asked any more.

        ``facts``: what the catalog says of products that `unknown_products` named, None: nothing.
        """
        for record in records:
            self.changes.take(record, facts)
        return LiveModel(self.changes)

    def latest(self) -> LiveModel:
        """The last of those that `after` gave, from this one on: the one that may be asked."""
        return self if self.n_taken == self.changes.n_taken else LiveModel(self.changes)

    def unknown_products(self, records: Iterable[UserRecord]) -> set[bytes]:
        """Products of the records that neither the model nor its catalog have."""
        named = {product for record in records for product, *_ in (*record.ratings, *record.events)}
        return {product for product in named if self.changes.columns.find(product.decode("ascii")) is None}

    @cached_property
    def popular(self) -> PopularProducts:
        """Most popular first, as of now."""
        return self.changes.popular.products()

    @cached_property
    def crowd(self) -> Crowd:
        """The users who have changed."""
        return Crowd(self.changes.users.values())

    @property
    def n_ratings(self) -> int:
        """How many ratings there are now."""
        return self.changes.tally.n_ratings

    @property
    def raters(self) -> NDArray[np.int64]:
        """How many people rated each column."""
        return self.changes.tally.counts

    def raters_of(self, column: int) -> tuple[int, float | None]:
        """As of now."""
        count = int(self.changes.tally.counts[column]) if column < len(self.changes.tally.counts) else 0
        return count, STARS_PER_UNIT * int(self.changes.tally.totals[column]) / count if count else None

    def allowed(self, wish: Wish) -> NDArray[np.bool_] | None:
        """A flag for each column; None if the wish leaves nothing out."""
        if not wish.filters:
            return None
        later = self.changes.columns.came_later
        return self.masks.mask(wish, lambda: allowed_products(wish, self.products, self.categories), later)

    def first(self, user_id: int, cut: Cut, ranking: str) -> list[Recommendation]:
        """As ``ServedModel.first``, with what the user and everybody else have done since."""
        if not self.changes.users:
            return super().first(user_id, cut, ranking)
        user = self.changes.users.get(user_id)
        if user is None:
            _, row = self._place_and_row(user_id)
            if row is None:  # listed, but never rated anything
                return super().first(user_id, cut, ranking)
            return self._row_by_taste(row, ranking, cut) if ranking in BY_TASTE else self._row_classic(row, cut)
        if not user.known:
            raise UnknownUserError(user_id)
        return self._first_to(user, cut, ranking)

    def _cap(self, most: int) -> Cap:
        return self.categories.cap(most, [facts for _, facts in self.changes.columns.came_later])

    def basket(self, ratings: Mapping[str, int]) -> LiveUser:
        """Somebody without an account who rated these products, in half stars. UnknownProductError."""
        for product in ratings:
            if self.changes.columns.find(product) is None:
                raise UnknownProductError(product)
        record = UserRecord(NOBODY, tuple((product.encode(), stars, 0) for product, stars in ratings.items()))
        user = live_user(record, self.changes.columns, self.weights)
        self.changes.room.reserve(len(self.changes.columns))
        return replace(user, times=None)

    def select_for(self, user: LiveUser, wish: Wish, ranking: str | None = None) -> Answer:
        """`select` for a basket."""
        return self._page(self._first_to(user, self.cut(wish), ranking or self.ranking), wish)

    def _first_to(self, user: LiveUser, cut: Cut, ranking: str) -> list[Recommendation]:
        """`first` for anybody with this profile."""
        if ranking in BY_TASTE:
            return self._by_taste_to(user, ranking, cut)
        seen, _ = user.rated()
        near = self.changes.cosine.of_user(user, self.n_neighbors, self.crowd, self.changes.room)
        return self._classic_now(near, seen, cut)

    def near(self, user_id: int, ranking: str) -> Near:
        """The neighbors that a ranking asks for a known user, nearest first."""
        if (user := self.changes.users.get(user_id)) is not None:
            return self._near_user(user, ranking)
        row = self._place_and_row(user_id)[1]
        return Near(np.empty(0, np.int64), np.empty(0)) if row is None else self._near_row(row, ranking)

    def _near_row(self, row: int, ranking: str) -> Near:
        changes = self.changes
        if ranking in BY_TASTE and changes.taste is not None:
            return changes.taste.of_row(row, self._ranker(ranking).n_neighbors, self.crowd, changes.room)
        columns = self.matrix.rated_columns(row)
        return changes.cosine.of_row(row, self.n_neighbors, self.crowd, columns, changes.room)

    def _near_user(self, user: LiveUser, ranking: str) -> Near:
        changes = self.changes
        if ranking in BY_TASTE and changes.taste is not None:
            return changes.taste.of_user(user, self._ranker(ranking).n_neighbors, self.crowd, changes.room)
        return changes.cosine.of_user(user, self.n_neighbors, self.crowd, changes.room)

    def _ranker(self, ranking: str) -> TasteRanker:
        assert isinstance(self.similarity, TasteSimilarity)
        return self.similarity.ranker(ranking)

    def _row_classic(self, row: int, cut: Cut) -> list[Recommendation]:
        near = self._near_row(row, CLASSIC)
        if not near.unchanged:
            return self._classic_now(near, self.matrix.rated_columns(row), cut)
        return self._classic_near(row, near.numbers.astype(np.int32), near.similarities, cut)

    def _classic_now(self, near: Near, seen: NDArray[np.int32], cut: Cut) -> list[Recommendation]:
        """`recommender.ranking.classic.rank_products` with neighbors some of whom have changed."""
        changes, entries = self.changes, self.rated_by(near)
        ranked = rank_now(entries, near.similarities, seen, cut, changes.columns, changes.room)
        return self._with_popular(ranked, np.sort(seen), cut)

    def rated_by(self, near: Near) -> Gathered:
        """What each neighbor rated."""
        csr, crowd = self.matrix.half_stars, self.crowd
        each = [
            (csr.indices[csr.indptr[at] : csr.indptr[at + 1]], csr.data[csr.indptr[at] : csr.indptr[at + 1]])
            if at >= 0
            else crowd.users[-1 - at].rated()
            for at in near.numbers.tolist()
        ]
        owners = np.repeat(np.arange(len(each)), [len(columns) for columns, _ in each])
        columns = np.concatenate([np.empty(0, np.int32), *(columns for columns, _ in each)])
        half_stars = np.concatenate([np.empty(0, np.int64), *(stars for _, stars in each)])
        return Gathered(owners, columns, half_stars)

    def _row_by_taste(self, row: int, ranking: str, cut: Cut) -> list[Recommendation]:
        taste, ranker, ladder = self.changes.taste, self._ranker(ranking), self._ladder_for(ranking)
        near, rules = self._near_row(row, ranking), self._rules(cut)
        assert taste is not None
        if near.unchanged:
            lists = np.array([row], np.int64), near.numbers.astype(np.int32)[None], near.similarities[None]
            return self._taste_near(row, ranker, lists, cut, rules, self._bars(cut.allowed, ranking))
        base, seen = taste.base_of(row, ranker), self._profile_columns(row)
        return self._taste_now(near, ranker, base, seen, cut, partial(ladder.list_of_row, row, **rules))

    def _by_taste_to(self, user: LiveUser, ranking: str, cut: Cut) -> list[Recommendation]:
        taste, ladder = self.changes.taste, self._ladder_for(ranking)
        ranker, near = self._ranker(ranking), self._near_user(user, ranking)
        assert taste is not None
        rules = self._rules(cut, 0.0 if user.user_id == NOBODY else None)
        walk = partial(ladder.list_of, user.segment, user.columns, user_id=user.user_id, **rules)
        return self._taste_now(near, ranker, taste.base_of(user.row, ranker), user.columns, cut, walk)

    def _taste_now(
        self,
        near: Near,
        ranker: TasteRanker,
        base: float,
        seen: NDArray[np.int32],
        cut: Cut,
        walk: Callable[[Given, int], OneList],
    ) -> list[Recommendation]:
        """Neighbors some of whom have changed, then down the ladder; ``walk`` goes on from what they give."""
        taste = self.changes.taste
        assert taste is not None
        ranked = taste.rank(
            taste.entries(near, self.crowd, ranker), near.similarities, ranker, base=base, seen=seen, cut=cut,
            columns=self.changes.columns, room=self.changes.room,
        )  # fmt: skip
        found = walk(Given(ranked.columns[None], ranked.predicted[None]), cut.n)
        return as_recommendations(found, ranked.support, ranked.n_raters)

    def _profile_columns(self, row: int) -> NDArray[np.int32]:
        assert isinstance(self.similarity, TasteSimilarity)
        return self.similarity.profiles.columns_of(row)

    def ratings_of(self, user_id: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """As of now."""
        user = self._changed(user_id)
        return super().ratings_of(user_id) if user is None else user.rated()

    def neighborhood(self, user_id: int, ranking: str) -> Neighborhood:
        """As of now."""
        user, near = self._changed(user_id), self.near(user_id, ranking)
        owned = [
            self._owned_by(number, ranking) if number >= 0 else _owned_now(self.crowd.users[-1 - number], ranking)
            for number in near.numbers.tolist()
        ]
        ids = [
            int(self.matrix.user_ids[number]) if number >= 0 else self.crowd.users[-1 - number].user_id
            for number in near.numbers.tolist()
        ]
        if user is None:
            _, row = self._place_and_row(user_id)
            own = np.empty(0, np.int32) if row is None else self._owned_by(row, ranking)[0]
        else:
            own, _ = _owned_now(user, ranking)
        return Neighborhood(np.array(ids, np.int64), near.similarities, owned, own)

    def _changed(self, user_id: int) -> LiveUser | None:
        """The user, who is known, if there was a change. UnknownUserError if there is nothing left of this one."""
        user = self.changes.users.get(user_id)
        if user is not None and not user.known:
            raise UnknownUserError(user_id)
        return user


def _owned_now(user: LiveUser, ranking: str) -> Owned:
    """What somebody who has changed has, in the eyes of a ranking."""
    return (user.columns, user.half_stars) if ranking in BY_TASTE else user.rated()
