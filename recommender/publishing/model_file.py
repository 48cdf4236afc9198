"""The served model as a file: ``--save-model`` writes it, and with ``MODEL_FILE`` the API serves it.

It holds everything an answer needs (ratings, the prepared data of every ranking, popular products, titles, prices,
known users) and the record of its version. The API opens it in a fraction of a second, without the database; all
workers share one copy in memory. Earlier versions are kept beside it (`recommender.publishing.version_files`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.errors import ModelFileError, RecommenderError, SettingError
from recommender.model import ServedModel
from recommender.paths import refuse_to_replace
from recommender.publishing._array_file import is_ours, open_arrays, save_arrays
from recommender.publishing._opened_model import model_of
from recommender.publishing.version_files import kept_file, publish_file
from recommender.publishing.versions import PUBLISHED, Version
from recommender.ranking import TasteSimilarity
from recommender.shop import Profiles, UserIds

Arrays = dict[str, NDArray[Any]]


def refuse_foreign_file(file: Path, *, overwrite: bool = False) -> None:
    """Raise ModelFileError unless ``file`` may be written: nothing is there, an empty file, or a model of this project.

    ``overwrite``: any regular file may be written. A link, a folder, a pipe or a device never may.
    """
    try:
        refuse_to_replace(file)
        if overwrite or not file.exists() or file.stat().st_size == 0 or is_ours(file):
            return
    except SettingError as error:
        raise ModelFileError(str(error)) from None
    except OSError as error:
        raise ModelFileError(f"{file} cannot be written ({error.strerror}): name another file") from None
    raise ModelFileError(f"{file} is no model of this project and is kept: name another file, or give --overwrite")


def save_model(file: Path, model: ServedModel, version: Version, *, overwrite: bool = False) -> None:
    """Save ``model`` as version ``version``, and publish it under the name ``file`` if the version is published.

    It is also published if there is no ``file`` yet. Raises ModelFileError, also where `refuse_foreign_file` does.
    """
    csr, catalog = model.matrix.steps, model.products.catalog
    arrays: Arrays = {
        "ratings.steps": csr.data,
        "ratings.indices": csr.indices,
        "ratings.indptr": csr.indptr,
        "user_ids": model.matrix.user_ids,
        **_ids(model.ids),
        "product_ids": _as_bytes(model.matrix.product_ids),
        "recommendable": model.matrix.recommendable,
        "known_users": model.known_users,
        "known_segments": model.known_segments,
        "popular.columns": model.popular.columns,
        "popular.predicted": model.popular.predicted,
        **{f"similar.{name}": array for name, array in model.similar_products.arrays().items()},
        "places": model.products.catalog_rows,
        "catalog.product_ids": _as_bytes(catalog.product_ids),
        "catalog.prices": catalog.prices,
        "catalog.stars": catalog.stars,
        "catalog.category_ids": catalog.category_ids,
        **({} if catalog.in_stock is None else {"catalog.in_stock": catalog.in_stock}),
        **_buffers("catalog.titles", catalog.titles),
    }
    facts: dict[str, Any] = {
        "version": version.to_dict(), "n_neighbors": model.n_neighbors, "ranking": model.ranking, "parameters": None,
        "new_product_percent": model.new_product_percent, "weights": model.weights,
        "segment_names": model.segment_names, "cursor": model.cursor, "left_out": dict(model.left_out),
        "people": model.people, "scale": model.matrix.scale.to_json(),
    }  # fmt: skip
    if isinstance(model.similarity, TasteSimilarity):
        arrays |= _profile_arrays(model.similarity.profiles) | model.similarity.prepared_arrays()
        if (chosen := model.similarity.parameters) is not None:
            facts["parameters"] = chosen.as_settings()
        if model.cold_start is not None:
            arrays |= {f"ladder.{name}": array for name, array in model.cold_start.arrays().items()}
    else:
        arrays |= {f"cosine.{name}": array for name, array in model.similarity.arrays().items()}
    kept = kept_file(file, version.number)
    for written in (file, kept):
        refuse_foreign_file(written, overwrite=overwrite)
    save_arrays(kept, arrays, facts)
    if version.state == PUBLISHED or not file.exists():
        publish_file(file, version.number)


def open_model(file: Path) -> tuple[ServedModel, Version]:
    """Return the model in ``file``, mapped into memory, and its version. ModelFileError if the file is faulty."""
    arrays, facts = open_arrays(file)
    try:
        return model_of(arrays, facts)
    except (LookupError, TypeError, ValueError, OverflowError, RecommenderError, pa.ArrowException) as error:
        message = f"{file} does not hold together ({error}): save it again with python recommendation_engine.py"
        raise ModelFileError(f"{message} --save-model") from None


def _ids(ids: UserIds) -> Arrays:
    """Return the texts of the users, and their stored numbers, ascending by text; nothing for whole numbers."""
    if not ids.is_text:
        return {}
    texts, numbers = ids.arrays()
    return {"ids.texts": _as_bytes(texts), "ids.numbers": numbers}


def _profile_arrays(profiles: Profiles) -> Arrays:
    csr = profiles.confidences
    held = {"confidences": csr.data, "indices": csr.indices, "indptr": csr.indptr}
    held |= {} if profiles.times is None else {"times": profiles.times}
    return {f"profiles.{name}": array for name, array in held.items()}


def _as_bytes(ids: NDArray[np.bytes_]) -> NDArray[np.uint8]:
    """Return ids (n,) as (n, width) bytes."""
    return ids.view(np.uint8).reshape(len(ids), ids.dtype.itemsize)


def _buffers(name: str, texts: pa.StringArray) -> Arrays:
    """Return the buffers of an Arrow array of texts: validity, offsets, characters; absent ones are left out."""
    whole = pa.concat_arrays([texts, pa.array([], pa.string())])  # of a slice too, only its own part
    found = {"length": np.array([len(whole)], np.int64)}
    for place, buffer in enumerate(whole.buffers()):
        if buffer is not None:
            found[str(place)] = np.frombuffer(buffer, np.uint8)
    return {f"{name}.{key}": array for key, array in found.items()}
