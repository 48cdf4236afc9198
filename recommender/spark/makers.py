"""The makers of the lists: tasks share the whole shop, or divide its rows where no worker can hold it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from recommender.model import ModelSettings, ServedModel
from recommender.neighbors import CosineIndex
from recommender.publishing import BatchLists
from recommender.ranking import TasteSimilarity
from recommender.spark.frames import ListsJob
from recommender.spark.lists.stages import lists_frame
from recommender.spark.lists.whole import whole_frame, worker_holds
from recommender.spark.shop_frames import ShopFrames
from recommender.spark.sinks import Make


def maker(spark: Any, model: ServedModel, lists: BatchLists, read: Callable[[], ShopFrames]) -> Make:
    """Return the maker of the lists: tasks share the whole shop, or divide what they ``read`` if none can hold it."""
    if worker_holds(spark, lists):
        return partial(whole_frame, spark, lists)
    answers = ModelSettings(model.n_neighbors, model.ranking, model.new_product_percent, model.weights)
    job = lists.job
    given = answers, len(job.rows), job.n, lists.version, lists.generated_at
    return divided(spark, read(), model.similarity, *given)


def divided(
    spark: Any, shop: ShopFrames, similarity: CosineIndex, answers: ModelSettings, users: int | None, n: int,
    version: int, generated_at: datetime,
) -> Make:  # fmt: skip
    """Return the maker of lists whose tasks divide the rows of ``shop``; those of ``users`` or all users."""
    parameters = weights = None
    if isinstance(similarity, TasteSimilarity):
        parameters, weights = similarity.parameters, similarity.item_weights
    wanted = ListsJob(answers, users, n, version, generated_at, parameters, weights)
    return partial(lists_frame, spark, shop.frames, shop.catalog, shop.scale, wanted)
