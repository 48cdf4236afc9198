"""The planted truth: base popularity and taste groups over a catalog. Helper of `shoppers`.

`shoppers` has the formulas and sources; here are the arrays, laid out so that drawing a product is one binary search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

N_GROUPS = 150
GROUP_SIZE = 1_000  # products of a group; the law gives 0.3 % to the products beyond them
GROUP_POOL = 20_000  # candidates of one group
GROUP_APPEAL_POWER = 1.8
GROUP_NOISE = 2.0
BRAND_BONUS = 1.5
CATEGORIES_PER_GROUP = 2
BASE_SHARE = 0.1
BASE_SHIFT = 10.0
BASE_POWER = 0.8

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class CatalogFacts:
    """The columns of a catalog that the model reads, each (n_products,), products in ascending order of product_id."""

    category_ids: npt.NDArray[np.integer]
    stars: npt.NDArray[np.floating]  # 0.0..5.0; 0 means not known
    reviews: npt.NDArray[np.integer]  # count
    bought_in_last_month: npt.NDArray[np.integer]  # count
    brand_ids: npt.NDArray[np.integer] | None = None  # any whole numbers; None: tastes over categories only

    @property
    def n_products(self) -> int:
        """Number of products."""
        return len(self.category_ids)


@dataclass(frozen=True)
class Tastes:
    """Base popularity and the taste groups; group g is offsets[g]:offsets[g+1] of products and weights."""

    base: _Floats  # (n_products,) sums to 1
    base_share: float  # weight of the base in every user's appeal
    offsets: _Ints  # (n_groups + 1,)
    products: _Ints  # (offsets[-1],) product index
    weights: _Floats  # (offsets[-1],) sums to 1 within a group
    star_offsets: _Floats  # (n_products,) stars minus mean stars
    base_steps: _Floats  # (n_products,) running sums of base
    group_steps: _Floats  # (offsets[-1],) group number + running sums of weights: one ascending array for all groups
    members: _Ints  # (offsets[-1],) group * n_products + product, ascending

    @classmethod
    def build(
        cls, base: _Floats, groups: Sequence[tuple[_Ints, _Floats]], *, base_share: float, star_offsets: _Floats
    ) -> Self:
        """Return the groups, each (products, weights that sum to 1), and what sampling needs, in flat arrays."""
        sizes = [len(products) for products, _ in groups]
        products = np.concatenate([products for products, _ in groups])
        number = np.repeat(np.arange(len(groups)), sizes)
        return cls(
            base=base,
            base_share=base_share,
            offsets=np.concatenate(([0], np.cumsum(sizes))),
            products=products,
            weights=np.concatenate([weights for _, weights in groups]),
            star_offsets=star_offsets,
            base_steps=np.cumsum(base),
            group_steps=number + np.concatenate([np.cumsum(weights) for _, weights in groups]),
            members=np.sort(number * len(base) + products),
        )

    def draw(self, groups: _Ints, from_base: _Flags, rng: np.random.Generator) -> _Ints:
        """Return one product for each row of ``groups`` (n, 2): from the base, or else from one of the two groups."""
        point = rng.random(len(groups))
        group = np.where(rng.random(len(groups)) < 0.5, groups[:, 0], groups[:, 1])
        position = np.searchsorted(self.group_steps, group + point, side="right")
        result: _Ints = self.products[np.minimum(position, self.offsets[group + 1] - 1)]  # running sums may miss 1
        base_position = np.searchsorted(self.base_steps, point[from_base], side="right")
        result[from_base] = np.minimum(base_position, len(self.base) - 1)
        return result

    def appeal_row(self, groups: _Ints) -> _Floats:
        """Return p(. | u) for a user of the two ``groups`` (the same one twice for a single taste), (n_products,)."""
        result = self.base_share * self.base
        for group in groups:
            rows = slice(self.offsets[group], self.offsets[group + 1])
            result[self.products[rows]] += (1.0 - self.base_share) / len(groups) * self.weights[rows]
        return result

    def is_in_groups(self, groups: _Ints, products: _Ints) -> _Flags:
        """Return whether products (n,) belong to either of the groups (n, 2)."""
        keys = groups * len(self.base) + products[:, None]  # (n, 2)
        at = np.minimum(np.searchsorted(self.members, keys), len(self.members) - 1)
        found: _Flags = (self.members[at] == keys).any(axis=1)
        return found


def popularity_score(catalog: CatalogFacts) -> _Floats:
    """Return ln(1 + bought)/2 + ln(1 + reviews)/4 + (stars - mean stars)/2, shape (n_products,).

    ``reviews`` alone would mislead: in the Kaggle file 69 % of the products have stars but no reviews. Unknown stars
    (0, or NaN) count as average; a negative or missing number counts as 0.
    """
    bought = np.log1p(np.maximum(np.nan_to_num(catalog.bought_in_last_month.astype(np.float64)), 0.0))
    reviews = np.log1p(np.maximum(np.nan_to_num(catalog.reviews.astype(np.float64)), 0.0))
    score: _Floats = bought / 2 + reviews / 4 + _star_offsets(catalog.stars) / 2
    return score


def _star_offsets(stars: npt.NDArray[np.floating]) -> _Floats:
    """Return stars minus their mean, 0 for unknown stars."""
    values = np.nan_to_num(stars.astype(np.float64))
    known = values > 0
    mean = values[known].mean() if known.any() else 0.0
    return np.where(known, values - mean, 0.0)


def plant_groups(catalog: CatalogFacts, rng: np.random.Generator) -> Tastes:
    """Draw the taste groups over the categories (and brands) of the catalog."""
    score = popularity_score(catalog)
    n = catalog.n_products
    rank = np.empty(n, dtype=np.int64)
    rank[np.lexsort((rng.random(n), -score))] = np.arange(n)  # equal scores in random order
    base = (rank + BASE_SHIFT) ** -BASE_POWER
    by_category = np.argsort(catalog.category_ids, kind="stable")
    starts = np.flatnonzero(np.diff(catalog.category_ids[by_category], prepend=catalog.category_ids.min() - 1))
    members = np.split(by_category, starts[1:])
    brands = catalog.brand_ids
    n_categories = min(CATEGORIES_PER_GROUP, len(members))
    groups = []
    for _ in range(N_GROUPS):
        chosen = rng.choice(len(members), n_categories, replace=False)
        pool = np.concatenate([members[category] for category in chosen])
        if len(pool) > GROUP_POOL:
            pool = pool[np.unique(rng.integers(0, len(pool), GROUP_POOL))]
        liking = score[pool] + rng.normal(0.0, GROUP_NOISE, len(pool))
        if brands is not None:
            liking += BRAND_BONUS * _liked_brands(brands[pool], int(rng.integers(2**31)))
        best = pool[np.argsort(-liking, kind="stable")[:GROUP_SIZE]]
        weight = (1.0 + np.arange(len(best))) ** -GROUP_APPEAL_POWER
        groups.append((best, weight / weight.sum()))
    return Tastes.build(base / base.sum(), groups, base_share=BASE_SHARE, star_offsets=_star_offsets(catalog.stars))


def _liked_brands(brand_ids: npt.NDArray[np.integer], salt: int) -> npt.NDArray[np.bool_]:
    """Return which products are of a brand that the group likes: one brand in four, by a hash of brand and group."""
    mixed = (brand_ids.astype(np.uint64) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    liked: npt.NDArray[np.bool_] = (mixed >> np.uint64(62)) == 0
    return liked
