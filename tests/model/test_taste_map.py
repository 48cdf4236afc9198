"""The taste map: groups of one taste are regions named by their products, and neighbors stay neighbors in the plane."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD
from sklearn.manifold import trustworthiness

from recommender.model import LARGEST, ServedModel, TasteMap, embed, lay_out, map_tastes
from recommender.neighbors import item_weights, taste_statistics
from recommender.ranking import TasteSimilarity
from recommender.synthetic import CatalogFacts, plant_tastes
from tests.support.saved_model import build

PRODUCTS = [f"B{number:09d}" for number in range(30)]  # group g likes those of category 1 + g, the others are of none
GROUPS, EACH = 3, 30


def stars(n_users: int = GROUPS * EACH) -> dict[int, dict[str, float]]:
    """Each of three groups rates ten products of its own; a user rates eight of them, in turn."""
    mine = {group: PRODUCTS[group::GROUPS] for group in range(GROUPS)}
    return {
        10 * user: {mine[user % GROUPS][(user // GROUPS + turn) % 10]: 5.0 for turn in range(8)}
        for user in range(1, n_users + 1)
    }


def shop(given: Mapping[int, Mapping[str, float]], *, taste: bool = True) -> ServedModel:
    catalog = {product: (f"Product {product}", 1.0) for product in PRODUCTS}
    return build(
        {user: dict(rated) for user, rated in given.items()}, catalog, taste=taste, n_categories=GROUPS, others=[7]
    )


def profiles_of(model: ServedModel) -> sp.csr_array:
    assert isinstance(model.similarity, TasteSimilarity)
    return model.similarity.profiles.confidences


@pytest.fixture(scope="module")
def planted() -> tuple[ServedModel, TasteMap]:
    model = shop(stars())
    return model, map_tastes(model)


def test_groups_of_one_taste_are_regions_with_their_category_first(planted: tuple[ServedModel, TasteMap]) -> None:
    model, tastes = planted
    assert tastes.user_ids.tolist() == sorted(stars())  # user 7 has no rating, and no place
    groups = (tastes.user_ids // 10) % GROUPS
    found = {(int(group), int(region)) for group, region in zip(groups, tastes.regions_of, strict=True)}
    assert len(found) == len({group for group, _ in found}) == len({region for _, region in found}) == GROUPS
    for group, number in found:
        region = tastes.regions[number]
        product = model.products.find(PRODUCTS[group])
        assert product is not None
        facts = model.products.facts(product)
        (typical,) = region.categories
        assert typical.category_id == facts.category_id
        # all 30 of the region have the category, and 30 of 90 in the shop: (30 + 5/3) / (30 + 5) / (1/3)
        assert (region.people, typical.share) == (EACH, 1.0)
        assert typical.lift == pytest.approx((30 + 5 / 3) / 35 * 3, abs=0.01)
        members = tastes.places[tastes.regions_of == number].astype(float)
        distances = np.hypot(*(members - [region.x, region.y]).T)
        assert (distances <= region.radius + 1).sum() >= EACH / 2


def test_places_fill_the_map_and_two_runs_agree_to_the_byte(planted: tuple[ServedModel, TasteMap]) -> None:
    model, tastes = planted
    assert tastes.places.dtype == np.uint16
    assert (int(tastes.places.max()), int(tastes.places.min())) == (LARGEST, 0)
    again = map_tastes(model)
    assert again.places.tobytes() == tastes.places.tobytes()
    assert again.regions == tastes.regions
    assert map_tastes(model, seed=1).places.tobytes() != tastes.places.tobytes()
    vectors = embed(profiles_of(model))
    some = [lay_out(vectors, seed, most=40) for seed in (0, 0, 1)]
    assert [np.array_equal(some[0], one) for one in some] == [True, True, False]
    # 30 profiles, three people of each: of the 50 who are no landmarks nobody stands on another
    assert len(np.unique(some[0], axis=0)) > 40 + 30


def test_without_loss_of_dimensions_likeness_is_the_weighted_cosine_of_the_profiles() -> None:
    rng = np.random.default_rng(2)
    owned = sp.csr_array(np.repeat(rng.integers(0, 3, (6, 40)) / 2, 2, axis=0))  # 6 profiles, each of two users
    weighted = owned.toarray() * np.log(1 + 12 / np.maximum((owned > 0).sum(axis=0), 1))
    units = weighted / np.linalg.norm(weighted, axis=1, keepdims=True)
    vectors = embed(owned)
    assert vectors.shape == (12, 11)
    np.testing.assert_allclose(vectors @ vectors.T, units @ units.T, atol=1e-5)


@pytest.mark.parametrize("n_users", [1, 2, 7, 12])
def test_the_smallest_shops_have_a_map_too(n_users: int) -> None:
    tastes = map_tastes(shop(stars(n_users)))
    assert len(tastes.user_ids) == n_users
    assert [region.people for region in tastes.regions] == [n_users]


def test_people_of_one_and_the_same_taste_have_a_map() -> None:
    tastes = map_tastes(shop({user: {PRODUCTS[0]: 4.0} for user in range(1, 61)}))
    assert len(tastes.regions) == 1


def made_up(n_users: int) -> sp.csr_array:
    """Profiles of a made-up shop with planted tastes, six ratings each on average."""
    rng = np.random.default_rng(1)
    n = 2_000
    catalog = CatalogFacts(
        category_ids=rng.integers(1, 60, n),
        stars=np.full(n, 4.0),
        reviews=rng.lognormal(5, 2, n).astype(np.int64),
        bought_in_last_month=np.zeros(n, np.int64),
    )
    model = plant_tastes(catalog, n_users=n_users, n_interactions=0, n_ratings=8 * n_users, seed=3)
    found = np.zeros((n_users, n))
    for block in model.blocks(n_users):
        found[block.ratings.user, block.ratings.product] = 1.0
    return sp.csr_array(found)


def test_neighbors_in_taste_stay_neighbors_far_better_than_on_the_plane_of_the_svd() -> None:
    """Trustworthiness at 20 (Venna and Kaski 2001), of cosines of the weighted profiles."""
    profiles = made_up(600)
    weighted = profiles @ sp.diags_array(item_weights(taste_statistics(profiles)))
    plane = TruncatedSVD(2, random_state=0).fit_transform(weighted)
    vectors = embed(profiles)
    everybody, some = lay_out(vectors), lay_out(vectors, most=300)

    def of(places: np.ndarray) -> float:
        return float(trustworthiness(weighted, places, n_neighbors=20, metric="cosine"))

    assert len(np.unique(some, axis=0)) == len(vectors)
    assert of(everybody) > of(plane) + 0.15
    assert of(some) > of(plane) + 0.12  # half of them are placed by landmarks
