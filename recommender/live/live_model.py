"""The model with every later rating and interaction: it answers as a model that is built now.

The arrays of the model stay as they are. Users who have changed are hidden in them and kept beside them as the tables
have them now. The asking user is compared with both, and the rankings' own kernels rank the rows of the neighbors. The
answer equals that of a newly built model to the last digit. Some data stay those of the model's own time:
    - in rankings by taste, the raters of products, the number of users, the biases, and the lists that fill up others
    - similar products
    - country and age group of people who have not changed, and which segments there are
    - the catalog, but for products that neither it nor the ratings had; what is in stock of these is not known

`LiveModel.after` returns the model after a change. It shares nearly all memory with the one before, and neither changes
any more, so any thread may ask either. Only one thread at a time makes successors, as these grow arrays in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.errors import UnknownProductError, UnknownUserError
from recommender.fallback import Cap, OneList, PopularProducts
from recommender.fallback import Near as Given
from recommender.live.changes import Changes, Facts, products_of
from recommender.live.index import Near
from recommender.live.ranking import Asked, rank_by_profile, rank_classic
from recommender.live.users import LiveUser, UserRecord, live_user
from recommender.model import (
    Answer,
    Categories,
    Cut,
    FilterCache,
    ListRequest,
    Neighborhood,
    Owned,
    ProductFilter,
    Recommendation,
    ServedModel,
    allowed_products,
    as_recommendations,
)
from recommender.neighbors import Entries
from recommender.ranking import BY_TASTE, CLASSIC, ProfileRanker, TasteRanker, TasteSimilarity
from recommender.shop import UserIds

NOBODY = -1  # the user_id of a basket


@dataclass(frozen=True, eq=False)
class LiveModel(ServedModel):
    """A ``ServedModel`` with the changes since it was built; ``changes.model`` is the one that was built."""

    changes: Changes = field(kw_only=True)

    @classmethod
    def of(cls, model: ServedModel) -> LiveModel:
        """Return the model before any change."""
        return cls._with(Changes(model))

    @classmethod
    def _with(cls, changes: Changes) -> LiveModel:
        built = {each.name: getattr(changes.model, each.name) for each in fields(ServedModel)}
        known = {"known_users": changes.known_users, "known_segments": changes.known_segments}
        return cls(**built | known | {"products": changes.columns}, changes=changes)

    @property
    def ids(self) -> UserIds:
        """What the shop calls the users, also those who came later."""
        return self.changes.ids

    @property
    def filters(self) -> FilterCache:
        """The cache of the model that was built."""
        return self.changes.model.filters

    @property
    def categories(self) -> Categories:
        """The categories of the products that were known when the model was built."""
        return self.changes.model.categories

    def after(self, records: Iterable[UserRecord], facts: Facts) -> LiveModel:
        """Return the model with these records in place of their users' old data.

        ``facts``: the facts of the catalog about each product of `unknown_products`, None: not in the catalog.
        """
        return LiveModel._with(self.changes.after(records, facts))

    def forked(self) -> LiveModel:
        """Return the same model with memory of its own to grow in: its successors may be made on any thread."""
        return LiveModel._with(self.changes.forked())

    def unknown_products(self, records: Iterable[UserRecord]) -> set[bytes]:
        """Return the products of the records that neither the model nor its catalog has."""
        return {product for product in products_of(records) if self.products.find(product.decode()) is None}

    @property
    def popular(self) -> PopularProducts:
        """The popular products of now, most popular first."""
        return self.changes.popular

    @property
    def n_ratings(self) -> int:
        """Number of ratings now."""
        return self.changes.tally.n_ratings

    @property
    def raters(self) -> NDArray[np.integer]:
        """Number of people who rated each column, now."""
        return self.changes.tally.counts

    @cached_property
    def owners(self) -> NDArray[np.integer]:
        """The owners of the model that was built, and none of later products."""
        built = self.changes.model.owners
        return np.pad(built, (0, len(self.raters) - len(built)))

    def raters_of(self, column: int) -> tuple[int, float | None]:
        """Return the number of ratings of a column now, and their mean stars."""
        return self.changes.tally.of(column)

    def filter_of(self, request: ListRequest) -> ProductFilter | None:
        """Return the filter of a request; None if it leaves nothing out."""
        if not request.filters:
            return None
        later = self.changes.columns.came_later
        return self.filters.of(request, lambda: allowed_products(request, self.products, self.categories), later)

    def first(self, user_id: int, cut: Cut, ranking: str) -> list[Recommendation]:
        """Do the same as ``ServedModel.first``, with all changes of all users."""
        user = self._changed(user_id)
        if user is not None:
            return self._first_to(user, cut, ranking)
        _, row = self._place_and_row(user_id)
        if row is None or not self.changes.users:  # a user without ratings, or nobody has changed
            return super().first(user_id, cut, ranking)
        return self._row_by_taste(row, ranking, cut) if ranking in BY_TASTE else self._row_classic(row, cut)

    def _cap(self, most: int) -> Cap:
        return self.categories.cap(most, self.changes.columns.later_categories(self.categories))

    def basket(self, ratings: Mapping[str, int]) -> LiveUser:
        """Return a user without an account who rated these products, in steps. UnknownProductError."""
        for product in ratings:
            if self.changes.columns.find(product) is None:
                raise UnknownProductError(product)
        record = UserRecord(NOBODY, tuple((product.encode(), stars, 0) for product, stars in ratings.items()))
        return replace(live_user(record, self.changes.columns, self.weights), times=None)

    def select_for(self, user: LiveUser, request: ListRequest, ranking: str | None = None) -> Answer:
        """Do `select` for a basket."""
        return self._page(self._first_to(user, self.cut(request), ranking or self.ranking), request)

    def _first_to(self, user: LiveUser, cut: Cut, ranking: str) -> list[Recommendation]:
        """Do `first` for any user with a profile."""
        near = self._near_user(user, ranking)
        own = self.changes.index(ranking).entries_of_user(user)
        if ranking not in BY_TASTE:
            return self._classic_now(near, own, user.rated()[0], cut)
        ladder = self._cold_start_for(ranking)
        rules = self._rules(cut, 0.0 if user.user_id == NOBODY else None)
        walk = partial(ladder.list_of, user.segment, user.columns, user_id=user.user_id, **rules)
        return self._taste_now(near, own, user.row, self._profile_of(user, ranking), ranking, cut, walk)

    def _profile_of(self, user: LiveUser, ranking: str) -> Any:
        """Return the profile of any user as the item model is asked."""
        assert isinstance(self.similarity, TasteSimilarity)
        times = None if self.similarity.profiles.times is None else user.times
        return self._ranker(ranking).profile_of(user.columns, user.confidences, user.steps, times)

    def _asking(self, user_id: int, ranking: str) -> Any:
        user = self._changed(user_id)
        return super()._asking(user_id, ranking) if user is None else self._profile_of(user, ranking)

    def near(self, user_id: int, ranking: str) -> Near:
        """Return the neighbors of a known user for a ranking, nearest first."""
        if (user := self.changes.users.get(user_id)) is not None:
            return self._near_user(user, ranking)
        row = self._place_and_row(user_id)[1]
        return Near.nothing() if row is None else self._near_row(row, ranking)

    def _near_row(self, row: int, ranking: str) -> Near:
        return self.changes.index(ranking).of_row(row, self._n_asked(ranking))

    def _near_user(self, user: LiveUser, ranking: str) -> Near:
        return self.changes.index(ranking).of_user(user, self._n_asked(ranking))

    def _n_asked(self, ranking: str) -> int:
        by_taste = ranking in BY_TASTE and self.changes.taste is not None
        return self._ranker(ranking).n_neighbors if by_taste else self.n_neighbors

    def _ranker(self, ranking: str) -> ProfileRanker:
        assert isinstance(self.similarity, TasteSimilarity)
        return self.similarity.ranker(ranking)

    def _bars(self, cut: Cut, ranking: str) -> Any:
        bars, owners = super()._bars(cut, ranking), self.changes.owners
        if owners is None or not len(owners.gone) or isinstance(self._ranker(ranking), TasteRanker):
            return bars
        *others, inverse = bars
        return (*others, owners.masked(inverse))  # the item model knows products that nobody has any more

    def _row_classic(self, row: int, cut: Cut) -> list[Recommendation]:
        near = self._near_row(row, CLASSIC)
        if not near.unchanged:
            return self._classic_now(near, self.changes.cosine.entries_of(row), self.matrix.rated_columns(row), cut)
        return self._classic_near(row, near.numbers.astype(np.int32), near.similarities, cut)

    def _classic_now(self, near: Near, own: Entries, seen: NDArray[np.int32], cut: Cut) -> list[Recommendation]:
        """Return the products of changed and unchanged neighbors, then the most often rated ones."""
        rows = self.changes.cosine.gathered(near, own, valued=False)
        given = self._recommendable(cut), self.changes.columns, self.matrix
        return self._with_popular(rank_classic(rows, near.similarities, cut, *given), np.sort(seen), cut)

    def _row_by_taste(self, row: int, ranking: str, cut: Cut) -> list[Recommendation]:
        taste, ladder = self.changes.taste, self._cold_start_for(ranking)
        near, rules = self._near_row(row, ranking), self._rules(cut)
        assert taste is not None
        if near.unchanged:
            lists = np.array([row], np.int64), near.numbers.astype(np.int32)[None], near.similarities[None]
            return self._taste_near(row, self._ranker(ranking), lists, cut, rules, self._bars(cut, ranking))
        walk = partial(ladder.list_of_row, row, **rules)
        profile = self._ranker(ranking).profile_of_row(row)
        return self._taste_now(near, taste.entries_of(row), row, profile, ranking, cut, walk)

    def _taste_now(
        self,
        near: Near,
        own: Entries,
        row: int,
        profile: Any,
        ranking: str,
        cut: Cut,
        walk: Callable[[Given, int], OneList],
    ) -> list[Recommendation]:
        """Return the ranking's products by changed and unchanged neighbors, then the ladder's.

        ``profile``: that of the user, as the item model is asked. ``walk`` continues the list.
        """
        taste, ranker = self.changes.taste, self._ranker(ranking)
        assert taste is not None
        rows, bases = taste.gathered(near, own, valued=True), np.append(taste.bases_of(near), taste.base_of(row))
        asked = Asked(rows, near.similarities, bases, profile)
        ranked = rank_by_profile(asked, cut, self._bars(cut, ranking), self.changes.columns, ranker)
        found = walk(Given(ranked.columns[None], ranked.predicted[None]), cut.n)
        return as_recommendations(found, ranked.support, ranked.n_raters, ranker.source)

    def ratings_of(self, user_id: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Return the columns and the steps of the user's ratings now."""
        user = self._changed(user_id)
        return super().ratings_of(user_id) if user is None else user.rated()

    def neighborhood(self, user_id: int, ranking: str) -> Neighborhood:
        """Return the neighbors of now, and the products that they and the user have now."""
        user, near = self._changed(user_id), self.near(user_id, ranking)
        ids = self.changes.index(ranking).ids_of(near.numbers)
        owned = [
            self._owned_by(number, ranking) if number >= 0 else _owned_now(self.changes.users[neighbor], ranking)
            for number, neighbor in zip(near.numbers.tolist(), ids.tolist(), strict=True)
        ]
        if user is not None:
            own, _ = _owned_now(user, ranking)
        else:
            _, row = self._place_and_row(user_id)
            own = np.empty(0, np.int32) if row is None else self._owned_by(row, ranking)[0]
        return Neighborhood(ids, near.similarities, owned, own)

    def _changed(self, user_id: int) -> LiveUser | None:
        """Return a known user if there was a change, else None. UnknownUserError if the user is gone."""
        user = self.changes.users.get(user_id)
        if user is not None and not user.known:
            raise UnknownUserError(self.ids.of(user_id))
        return user


def _owned_now(user: LiveUser, ranking: str) -> Owned:
    """Return the products that a changed user has, as a ranking sees them."""
    return (user.columns, user.steps) if ranking in BY_TASTE else user.rated()
