"""The model from the arrays and facts of a model file, each checked before compiled code uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from numpy.typing import NDArray

from recommender.arrays import within
from recommender.fallback import ColdStart, PopularProducts
from recommender.model import ServedModel
from recommender.neighbors import LEAST_CONFIDENCE, CosineIndex, SimilarProducts
from recommender.publishing import _saved_model as saved
from recommender.publishing._saved_model import (
    check_entries,
    check_finite,
    check_flags,
    check_numbering,
    check_times,
    check_users,
    ids_of,
)
from recommender.publishing.versions import Version
from recommender.ranking import CLASSIC, TasteSimilarity, under
from recommender.settings import checked_choice, checked_number
from recommender.shop import HALF_STARS, ProductCatalog, Products, Profiles, RatingMatrix, Scale, known_prices

Arrays = Mapping[str, NDArray[Any]]

# The types that code was compiled for, in one dimension unless listed below; the cosine checks its own arrays.
_KINDS: dict[str, Any] = {
    "ratings.steps": np.int8, "ratings.indices": np.signedinteger, "ratings.indptr": np.signedinteger,
    "user_ids": np.int64, "product_ids": np.uint8, "recommendable": np.bool_, "known_users": np.int64,
    "popular.columns": np.int32, "popular.predicted": np.float64, "places": np.int32,
    "catalog.product_ids": np.uint8, "catalog.prices": np.float64, "catalog.stars": np.float64,
    "catalog.category_ids": np.int32, "catalog.titles.length": np.int64, "known_segments": np.int32,
}  # fmt: skip
_PROFILE_KINDS: dict[str, Any] = {
    "profiles.confidences": np.float64, "profiles.indices": np.signedinteger, "profiles.indptr": np.signedinteger,
}  # fmt: skip
_TWO_DIMENSIONS = {"product_ids", "catalog.product_ids"}


def model_of(arrays: Arrays, facts: Mapping[str, Any]) -> tuple[ServedModel, Version]:
    """Return the model on these arrays, which are not copied, and its version.

    LookupError, TypeError, ValueError, OverflowError, RecommenderError or ArrowException if they do not fit together.
    """
    _check_kinds(arrays, _KINDS)
    scale = Scale.from_json(facts["scale"]) if "scale" in facts else HALF_STARS
    matrix, catalog, catalog_rows = _matrix(arrays, scale), _catalog(arrays), arrays["places"]
    n_users, n_products = matrix.shape
    cosine = _similarity(matrix, arrays, facts["parameters"])
    popular = PopularProducts(arrays["popular.columns"], arrays["popular.predicted"])
    fits = catalog_rows.size >= n_products and cosine.shape[0] == n_users
    fits &= len(popular.columns) == len(popular.predicted)
    ladder = _ladder(matrix, cosine, arrays)
    if not (fits and within(popular.columns, 0, n_products) and within(catalog_rows, -1, len(catalog))):
        raise ValueError("its parts are of different sizes")
    products = Products(matrix.product_ids, catalog, catalog_rows)
    check_numbering(products)
    check_finite("popular.predicted", popular.predicted)
    if np.bincount(popular.columns, minlength=1).max() > 1:
        raise ValueError("a popular product is there twice")
    check_users("known_users", arrays["known_users"])
    version, names = saved.checked_version(facts["version"]), saved.checked_names(facts["segment_names"])
    if not within(arrays["known_segments"], -1, max(len(names), ladder.n_segments if ladder else 0)):
        raise ValueError("its segments have no names")
    people = facts.get("people")
    if not isinstance(people, str | None):
        raise TypeError("its people have no token")
    model = ServedModel(
        matrix=matrix,
        similarity=cosine,
        similar_products=SimilarProducts(matrix, arrays=under("similar.", arrays)),
        popular_when_built=popular,
        products=products,
        known_users=arrays["known_users"],
        known_segments=arrays["known_segments"],
        cold_start=ladder,
        built_at=version.made_at,
        n_neighbors=checked_number("TOP_N_SIMILAR_USERS", facts["n_neighbors"]),
        ranking=checked_choice("RANKING", facts["ranking"]),
        version=version.number,
        new_product_percent=checked_number("NEW_PRODUCT_PERCENT", facts["new_product_percent"]),
        weights=saved.checked_weights(facts["weights"]),
        segment_names=names,
        cursor=saved.checked_cursor(facts["cursor"]),
        people=people,
        left_out=saved.checked_left_out(facts.get("left_out", {})),
    )
    if model.ranking not in (CLASSIC, *model.rankings):
        raise ValueError(f"it cannot rank by {model.ranking}")
    return model, version


def _ladder(matrix: RatingMatrix, similarity: CosineIndex, arrays: Arrays) -> ColdStart | None:
    """Return the cold start that fills up lists by taste; ValueError if it does not fit the matrix or the catalog."""
    held = under("ladder.", arrays)
    if not held or not isinstance(similarity, TasteSimilarity):
        return None
    ladder = ColdStart.from_arrays(held, similarity.profiles.confidences, matrix.user_ids)
    segments = arrays["known_segments"]
    if segments.size != arrays["known_users"].size or not within(segments, -1, ladder.n_segments):
        raise ValueError("its segments are of other users")
    if not within(ladder.new.columns, 0, arrays["places"].size):
        raise ValueError("its new products are of another catalog")
    return ladder


def _similarity(matrix: RatingMatrix, arrays: Arrays, parameters: Any) -> CosineIndex:
    """Return the cosines, with the profiles if there are any; ValueError if an index would be out of bounds."""
    held = under("profiles.", arrays)
    if not held:
        return CosineIndex.from_arrays(under("cosine.", arrays))
    _check_kinds(arrays, _PROFILE_KINDS | ({"profiles.times": np.int64} if "times" in held else {}))
    csr, times = _csr(held["confidences"], held["indices"], held["indptr"], matrix.shape), held.get("times")
    if times is not None and times.shape != csr.data.shape:
        raise ValueError("its profiles are of different sizes")
    check_entries("its profiles", csr)
    saved.check_rated(csr, matrix.steps)
    check_finite("profiles.confidences", csr.data, lowest=LEAST_CONFIDENCE)
    if times is not None:
        check_times("profiles.times", times)
    chosen = saved.checked_parameters(parameters)
    return TasteSimilarity.of(matrix, Profiles(csr, times), parameters=chosen, arrays=arrays)


def _check_kinds(arrays: Arrays, kinds: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        array = arrays[name]
        if not np.issubdtype(array.dtype, kind) or array.ndim != 1 + (name in _TWO_DIMENSIONS):
            raise ValueError(f"{name} is {array.dtype} in {array.ndim} dimensions")


def _matrix(arrays: Arrays, scale: Scale) -> RatingMatrix:
    user_ids, recommendable, ids = (
        arrays["user_ids"],
        arrays["recommendable"],
        saved.ids_of_users(under("ids.", arrays)),
    )
    product_ids = ids_of("product_ids", arrays["product_ids"])
    check_users("user_ids", ids.keys(user_ids))
    check_flags("recommendable", recommendable)
    parts = arrays["ratings.steps"], arrays["ratings.indices"], arrays["ratings.indptr"]
    csr = _csr(*parts, (user_ids.size, product_ids.size))
    if recommendable.size != product_ids.size:
        raise ValueError("its ratings are of different sizes")
    if not within(csr.data, scale.least, scale.most + 1):
        raise ValueError(f"its ratings are not {scale.text()}")
    check_entries("its ratings", csr)
    return RatingMatrix(csr, user_ids, product_ids, recommendable, scale=scale, ids=ids)


def _csr(
    data: NDArray[Any], indices: NDArray[np.integer], indptr: NDArray[np.integer], shape: tuple[int, int]
) -> sp.csr_array:
    """Return the matrix on these arrays; ValueError if an index is out of bounds: compiled code does not check that."""
    csr = sp.csr_array((data, indices, indptr), shape=shape)
    csr.check_format(full_check=True)
    if (csr.indptr[1:] < csr.indptr[:-1]).any():  # scipy checks this only if the last is not 0
        raise ValueError("the starts of its rows do not rise")
    return csr


def _catalog(arrays: Arrays) -> ProductCatalog:
    in_stock = arrays.get("catalog.in_stock")
    catalog = ProductCatalog(
        product_ids=ids_of("catalog.product_ids", arrays["catalog.product_ids"]),
        titles=_texts("catalog.titles", arrays),
        prices=known_prices(arrays["catalog.prices"]),  # files of the release before hold 0.0
        stars=arrays["catalog.stars"],
        category_ids=arrays["catalog.category_ids"],
        in_stock=in_stock,
    )
    parts = [catalog.titles, catalog.prices, catalog.stars, catalog.category_ids]
    if in_stock is not None:
        _check_kinds(arrays, {"catalog.in_stock": np.bool_})
        check_flags("catalog.in_stock", in_stock)
        parts.append(in_stock)
    if {len(part) for part in parts} != {len(catalog)}:
        raise ValueError("the parts of its catalog are of different sizes")
    check_finite("catalog.prices", arrays["catalog.prices"], unknown=True)
    check_finite("catalog.stars", catalog.stars, lowest=0.0)
    return catalog


def _texts(name: str, arrays: Arrays) -> pa.StringArray:
    """Return the Arrow array on the buffers, which are not copied."""
    held = [arrays.get(f"{name}.{place}") for place in range(3)]
    buffers = [None if array is None else pa.py_buffer(array) for array in held]
    texts = pa.Array.from_buffers(pa.string(), int(arrays[f"{name}.length"][0]), buffers)
    texts.validate(full=True)
    return texts
