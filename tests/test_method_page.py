"""docs/method.md computes a small shop by hand. The program finds every figure that is in bold there."""

from __future__ import annotations

import re

import numpy as np
import pytest

from recommender.fallback import NO_CAP
from recommender.fallback.popular import damped_means
from recommender.items import GRID_BITS, local
from recommender.items.training import MOST_DENSE, MOST_ENTRIES, N_ENTRIES, WHOLE
from recommender.neighbors import SimilarProducts
from recommender.ranking import (
    DEPTH,
    FUSION,
    AutoParameters,
    FusedRanker,
    FusionParameters,
    ItemParameters,
    TasteSimilarity,
    rank_near,
    train_item_weights,
)
from recommender.shop import RatingMatrix, build_profiles, build_rating_matrix
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
USER, ROW = 1, 0


def table() -> list[tuple[int, str, int]]:
    """The ratings of the page's first table, as user, product, half stars."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")
    ]
    names, found = cells[0][1:], []
    for user, *stars in cells[2:7]:
        found += [(int(user), name, int(2 * float(s))) for name, s in zip(names, stars, strict=True) if s]
    return found


@pytest.fixture(scope="module")
def matrix() -> RatingMatrix:
    users, names, steps = zip(*table(), strict=True)
    products = np.array(sorted(set(names)), "S10")
    codes = np.searchsorted(products, np.array(names, "S10")).astype(np.int32)
    catalog = np.ones(len(products), np.bool_)
    return build_rating_matrix(np.array(users, np.int64), products, codes, np.array(steps, np.int8), in_catalog=catalog)


@pytest.fixture(scope="module")
def similarity(matrix: RatingMatrix) -> TasteSimilarity:
    profiles, plain = build_profiles(matrix), ItemParameters(ridge=1.0)
    auto = AutoParameters(FUSION, items=plain, fusion=FusionParameters(0.5, 60.0))
    weights = train_item_weights(profiles, plain)
    return TasteSimilarity.of(matrix, profiles, parameters=auto, item_weights=weights)


def stands(value: float) -> bool:
    return f"**{value:.4f}**" in PAGE


def test_the_table_of_the_page_is_read_whole() -> None:
    assert len(table()) == 12
    assert table()[0] == (1, "A", 10)


def test_the_neighbors_and_predicted_ratings_are_those_of_the_page(
    matrix: RatingMatrix, similarity: TasteSimilarity
) -> None:
    neighbors, cosines = similarity.neighbors(ROW, 20)
    assert [int(matrix.user_ids[row]) for row in neighbors] == [2, 3, 5]
    assert all(stands(cosine) for cosine in cosines)
    ranked = rank_near(matrix.steps, ROW, neighbors, cosines, 10, NO_CAP, matrix.recommendable, 0.5)
    assert matrix.products(ranked.columns) == ["C", "D"]
    assert stands(ranked.predicted[0])
    assert stands(ranked.predicted[1])
    assert all(f"| {support:.4f} |" in PAGE for support in ranked.support)


def test_the_fallback_shows_the_stars_of_the_page(matrix: RatingMatrix) -> None:
    assert stands(damped_means(matrix)[1])
    assert f"{matrix.mean_rating:.4f}" in PAGE


def test_taste_gives_the_similarities_and_scores_of_the_page(matrix: RatingMatrix, similarity: TasteSimilarity) -> None:
    taste = similarity.taste
    found = taste.rank_near(taste.near(ROW), 10, taste.votes.bars(None))
    assert matrix.products(found.columns[0][:2]) == ["C", "D"]
    assert found.columns[0][2] == -1
    assert stands(found.score[0][0])
    assert stands(found.score[0][1])
    neighbors, similarities = similarity.taste.index.neighbors(ROW, 200)
    assert [int(matrix.user_ids[row]) for row in neighbors] == [2, 3]
    assert all(stands(value) for value in similarities)


def test_items_gives_the_weights_and_scores_of_the_page(matrix: RatingMatrix, similarity: TasteSimilarity) -> None:
    a, b = weights_of(matrix, similarity, 0), weights_of(matrix, similarity, 1)
    assert stands(a["C"])
    assert stands(b["C"])
    assert (set(a), set(b)) == ({"B", "C"}, {"A", "C"})  # none to D
    items = similarity.items
    found = items.rank_near(items.near(ROW), 10, items.bars(None))
    assert matrix.products(found.columns[0][:1]) == ["C"]
    assert found.columns[0][1] == -1
    assert stands(found.support[0][0])
    assert stands(found.score[0][0])
    profile = items.profile_of_row(ROW)
    assert stands(items.shares(2, profile)[0] / found.support[0][0])


def weights_of(matrix: RatingMatrix, similarity: TasteSimilarity, row: int) -> dict[str, float]:
    """The weights of one product by product."""
    weights = similarity.item_weights
    assert weights is not None
    part = slice(weights.indptr[row], weights.indptr[row + 1])
    names = matrix.products(weights.columns[part])
    return dict(zip(names, (weights.weights[part] / 2**GRID_BITS).tolist(), strict=True))


def test_the_fusion_gives_the_scores_of_the_page(matrix: RatingMatrix, similarity: TasteSimilarity) -> None:
    fused = similarity.auto
    assert isinstance(fused, FusedRanker)
    found = fused.rank_near(fused.near(ROW), 10, fused.bars(None))
    assert matrix.products(found.columns[0][:2]) == ["C", "D"]
    assert found.columns[0][2] == -1
    assert stands(found.score[0][0])
    assert stands(found.score[0][1])
    assert f"taste and of items, {DEPTH} products each" in PAGE


def test_the_constants_of_items_on_the_page_are_those_of_the_program() -> None:
    plain = ItemParameters()
    assert f"with λ = {plain.ridge:g}" in PAGE
    assert f"support / raters(i)^{plain.damping:g}," in PAGE
    assert plain.half_life == 3.0  # as by taste: the page has one formula for both
    assert f"up to {MOST_DENSE:,} of them" in PAGE
    text = PAGE.replace("\n", " ")
    assert f"the {N_ENTRIES} largest are kept" in text
    assert f"{local.N_NEAR} nearest products alone" in text
    assert f"beyond {local.LARGE:,} products on {local.N_NEAR_LARGE}" in text
    assert f"Up to {WHOLE:,} products all weights are kept" in text
    assert f"over {MOST_ENTRIES // 10**6} million" in text
    assert f"multiples of 2⁻{str(GRID_BITS).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))} " in PAGE


def test_similar_products_are_those_of_the_page(matrix: RatingMatrix) -> None:
    similar = SimilarProducts(matrix).similar(0, 1)
    assert matrix.products(similar.columns) == ["B"]
    assert stands(similar.similarities[0])
    assert f"of {similar.n_common[0]} people" in PAGE


def test_every_figure_in_bold_is_tested_here() -> None:
    bold = re.findall(r"\*\*([0-9.]+)\*\*", PAGE)
    taste = ["0.8299", "0.6863", "1.2171", "0.5974"]
    items, fusion = ["0.2667", "0.1333", "0.3733", "0.3345", "0.7143"], ["0.0164", "0.0081"]
    classic = ["0.9055", "0.7467", "0", "0.6247", "3.9038", "2.0000", "3.7976"]
    assert sorted(bold) == sorted([*classic, *taste, *items, *fusion, "0.9698"])
