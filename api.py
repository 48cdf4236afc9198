"""Step 4: the HTTP service.

    uvicorn api:app                             # http://127.0.0.1:8000, documentation at /docs
    curl localhost:8000/recommendations/42

The model is read into memory at the start, from the database or from MODEL_FILE. Every answer is computed from memory,
also while the database is away. Changes in the tables are counted within a second, writes through the service at once.
Settings come from the environment or ``.env``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import recommendation_engine
from recommender.commands.exit_status import FORESEEN, one_line
from recommender.commands.warm_up import SLOW, load_for, parts_of_service, warm_up
from recommender.database import connect
from recommender.publishing import map_file
from recommender.service import (
    LARGEST_LIMIT,
    PAGE,
    PAGES,
    ROUTERS,
    ApiKeys,
    ConnectionLimits,
    FastPath,
    ServiceLayer,
    ServiceState,
    Sessions,
    add_problem_handlers,
    answer_at_once,
    answer_browsers,
    document_for_all,
    document_for_scale,
    document_texts,
    for_origins,
)
from recommender.settings import Settings, load_settings
from recommender.shop import HALF_STARS
from recommender.updates import ModelSource, ModelUpdater, SavedModel, TasteMaps, TrainedModel

FIRST_LOOK = 2.0  # seconds that a start with a model file waits for a database that hangs
CONNECT_TIMEOUT, STATEMENT_TIMEOUT = 1.0, 1.5  # seconds; a caller can wait for both together, see ModelUpdater

# seconds after which a computing thread must give up the interpreter. The event loop waits as long after each of its
# pauses, while another thread makes a model or reads very many rows
SWITCH_INTERVAL = 0.001


class RecommendationApp(FastAPI):
    """A FastAPI inside the layer; a failed start prints one line, no stack trace."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.state: ServiceState = ServiceState()  # type: ignore[assignment]
        self.layer = ServiceLayer(super().__call__, self.state)
        self.layer.fast_path = FastPath(
            "/recommendations/{user_id}", answer_at_once, default_limit=lambda: self.state.default_limit
        )
        self.outermost: ASGIApp = self.layer
        self.described = HALF_STARS, False  # the scale of ratings and the kind of user ids in the OpenAPI document

    def include_router(self, router: APIRouter, **options: Any) -> None:
        """Add the routes, and tell the layer their templates."""
        super().include_router(router, **options)
        self.layer.templates |= {route.endpoint: route.path for route in router.routes if isinstance(route, Route)}

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, made once for each scale of ratings and kind of user ids."""
        model = self.state.model
        described = (HALF_STARS, False) if model is None else (model.matrix.scale, model.ids.is_text)
        if self.openapi_schema is None or described != self.described:
            self.openapi_schema = None
            document = super().openapi()
            scale, by_text = described
            if by_text:
                self.openapi_schema = document = deepcopy(document)  # its parts are the routes' own
                document_texts(document)
            if self.layer.keys is not None:
                document_for_all(document)
            self.openapi_schema, self.described = document_for_scale(document, scale), described
        assert self.openapi_schema is not None
        return self.openapi_schema

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.outermost(scope, receive, send)
            return

        async def send_plainly(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and (reason := self.state.refused):
                message = {"type": message["type"], "message": f"api.py: {reason}"}
            await send(message)

        await super().__call__(scope, receive, send_plainly)


@asynccontextmanager
async def lifespan(app: RecommendationApp) -> AsyncIterator[None]:
    """Read the model before the first request, and watch the database until the last."""
    try:
        settings = load_settings(constants=recommendation_engine.module_constants())
        app.layer.answers.capacity = settings.answer_cache_mb * 1_000_000
        app.state.api_keys = ApiKeys(settings.api_key)
        app.state.sessions = Sessions(app.state.api_keys)
        if settings.require_key == "all":
            app.layer.require(app.state.api_keys)
        app.outermost = for_origins(app.layer, settings.cors_origins)
        app.layer.request_timeout = settings.request_timeout
        limits = ConnectionLimits(settings.connection_limit, settings.request_timeout)
        limits.apply(app)
        app.layer.log.enabled = settings.request_log == 1
        # its lines would contain paths and query strings; without a handler uvicorn does not make them
        access = logging.getLogger("uvicorn.access")
        access.handlers.clear()
        access.propagate = False
        watch = await asyncio.to_thread(start, app.state, settings)
    except FORESEEN as error:
        app.state.refused = one_line(error)
        raise
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.freeze()  # these objects stay: looking for garbage among them stopped every request for 0.1 s now and then
    watching = asyncio.create_task(watch.run())
    limiting = asyncio.create_task(limits.run())
    await watch.first_look(FIRST_LOOK)  # checks whether the model file is of the people in the database
    yield
    gc.unfreeze()
    for task in (limiting, watching):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    watch.close()
    if app.state.maps is not None:
        app.state.maps.close()
    app.layer.log.close()


def start(state: ServiceState, settings: Settings) -> ModelUpdater:
    """Load the model, from MODEL_FILE or the database, and put what the routes use into ``state``."""
    warm_up(lambda: logging.getLogger("uvicorn.error").info(SLOW), parts_of_service(settings.ranking))
    if file := settings.model_file:
        source: ModelSource = SavedModel(file, prepare=load_for)
    else:
        source = TrainedModel(settings, lambda: watch.published, prepare=load_for)
    model = source.load()
    watch = ModelUpdater(
        state,
        lambda: connect(settings, statement_timeout=STATEMENT_TIMEOUT, connect_timeout=CONNECT_TIMEOUT),
        source,
        known_up=settings.model_file is None,
    )
    watch.serve(model)
    state.currency, state.product_images = settings.currency, settings.product_images == 1
    state.model_file = settings.model_file
    state.maps = TasteMaps(map_file(settings), [sys.executable, recommendation_engine.__file__, "--map"])
    state.updater, state.default_limit = watch, min(settings.top_n_recommendations, LARGEST_LIMIT)
    return watch


def create_app() -> RecommendationApp:
    """Build the application; nothing is read before it starts."""
    app = RecommendationApp(
        title="Product recommendations",
        version="0.1.0",
        description="Exact, explained recommendations from your own ratings. What needs a key is marked; with "
        "`REQUIRE_KEY=all` that is everything but `/live`, `/ready` and the status in `/health`.",
        lifespan=lifespan,
        docs_url=None,  # the framework's own pages load their parts from other hosts
        redoc_url=None,
        redirect_slashes=False,  # a wrong path gets 404 with the reason, as everywhere
    )
    add_problem_handlers(app)
    for tag, routers in ROUTERS.items():
        for part in routers:
            app.include_router(part, tags=[tag])
    app.include_router(PAGE)
    for pages in PAGES:
        app.include_router(pages)
        app.layer.pages += tuple(route.path_regex for route in pages.routes if isinstance(route, Route))
    answer_browsers(app)
    return app


app = create_app()
