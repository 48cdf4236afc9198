"""The state that the routes share, ``app.state``: set by ``api.py`` at the start, read by each request."""

from __future__ import annotations

from asyncio import Task
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import ref

from recommender.model import ServedModel
from recommender.service.api_keys import ApiKeys
from recommender.service.beside import Turns
from recommender.service.session import Sessions
from recommender.updates import ModelUpdater, Served, TasteMaps

BATCHES_AT_A_TIME = 2  # requests for batches; the others wait


@dataclass
class ServiceState(Served):
    """The served model and the settings of its answers. Plain attributes, since each request reads several."""

    updater: ModelUpdater | None = None  # None: not started yet
    default_limit: int = 10  # products of a list
    currency: str = "USD"  # of all prices
    api_keys: ApiKeys = field(default_factory=ApiKeys)
    sessions: Sessions = field(default_factory=Sessions)  # of people at the pages
    product_images: bool = False  # whether the pages show the pictures of the catalog
    model_file: Path | None = None
    maps: TasteMaps | None = None  # taste maps; None: not started yet
    figures: tuple[ref[ServedModel], Task[dict[str, Any]]] | None = None  # of the overview, and the model they are of
    batches: Turns = field(default_factory=lambda: Turns(BATCHES_AT_A_TIME))
    slow_answers: Turns = field(default_factory=lambda: Turns(1))
    refused: str = ""  # why the start failed

    @property
    def published(self) -> int | None:
        """The version that is served: that of the model file, or else the published one; None: there is none."""
        own = None if self.model is None else self.model.version
        if self.model_file is not None or self.updater is None:
            return own
        return self.updater.published or own
