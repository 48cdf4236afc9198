"""Step 4: the HTTP service.

    uvicorn api:app                             # http://127.0.0.1:8000, documentation at /docs
    curl localhost:8000/recommendations/42

The model is read into memory at the start, from the database or from MODEL_FILE, and every answer is computed from
there; the database is only watched, so that ``GET /health`` can tell when it is away. Settings come from the
environment or ``.env``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

import recommendation_engine
from recommender import catalog_routes, product_routes, service_routes
from recommender.database import connect
from recommender.database_watch import DatabaseWatch
from recommender.errors import RecommenderError
from recommender.list_answers import answer_list
from recommender.model_file import open_model
from recommender.observation import Observation
from recommender.parameters import LARGEST_LIMIT
from recommender.problems import add_problem_handlers
from recommender.rankings import AUTO, chosen_parameters
from recommender.routes import router
from recommender.schema import INTERACTION_TYPES
from recommender.served_data import build_served_model
from recommender.serving import ServedModel
from recommender.settings import Settings, interaction_weights, load_settings
from recommender.shortcut import Shortcut
from recommender.trained_model import read_taste_model
from recommender.versions import published_version, read_versions
from recommender.warm_up import warm_up

WATCH_TIMEOUT = 2  # seconds a question to the database may take


class RecommendationApp(FastAPI):
    """A FastAPI inside of the observation, whose failed start is told in one line, not in a stack trace."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.observation = Observation(super().__call__, self.state)
        self.observation.shortcut = Shortcut(
            "/recommendations/{user_id}", answer_list, default_limit=lambda: self.state.default_limit
        )
        self.state.metrics = self.observation.metrics

    def include_router(self, router: APIRouter, **options: Any) -> None:
        """Add the routes, and tell the observation what they are called."""
        super().include_router(router, **options)
        self.observation.templates |= {
            route.endpoint: route.path for route in router.routes if isinstance(route, Route)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.observation(scope, receive, send)
            return

        async def send_plainly(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and (reason := getattr(self.state, "refused", None)):
                message = {"type": message["type"], "message": f"api.py: {reason}"}
            await send(message)

        await super().__call__(scope, receive, send_plainly)


@asynccontextmanager
async def lifespan(app: RecommendationApp) -> AsyncIterator[None]:
    """Read the model before the first request, watch the database until the last."""
    try:
        settings = load_settings(constants=recommendation_engine.module_constants())
        app.observation.answers.capacity = settings.answer_cache_mb * 1_000_000
        app.observation.log.enabled = settings.request_log == 1
        # its lines would hold paths and query strings; without a handler uvicorn does not even make them
        access = logging.getLogger("uvicorn.access")
        access.handlers.clear()
        access.propagate = False
        await asyncio.to_thread(start, app, settings)
    except RecommenderError as error:
        app.state.refused = str(error)
        raise
    watching = asyncio.create_task(app.state.watch.run())
    yield
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    app.state.watch.close()
    app.observation.log.flush()


def start(app: FastAPI, settings: Settings) -> None:
    """Load the model, from MODEL_FILE or the database, and put what the routes use into ``app.state``."""
    warm_up(lambda: logging.getLogger("uvicorn.error").info("compiling the engine for this machine, once: about 20 s"))
    app.state.model = model_from_file(settings.model_file) if settings.model_file else model_from_database(settings)
    app.state.model.prepare()
    app.state.default_limit = min(settings.top_n_recommendations, LARGEST_LIMIT)
    app.state.watch = DatabaseWatch(
        lambda: connect(settings, statement_timeout=WATCH_TIMEOUT), known_up=settings.model_file is None
    )


def model_from_file(file: Path) -> ServedModel:
    """The saved model; the database may be away."""
    model, _ = open_model(file)
    return model


def model_from_database(settings: Settings) -> ServedModel:
    """Train on what is in the tables now, for every ranking: a request may ask for any.

    Auto has the parameters of the published version, or ones chosen now if RANKING=auto and there are none.
    """
    engine = connect(settings)
    published = published_version(read_versions(engine))
    parameters = chosen_parameters(published.settings) if published else None
    weights = interaction_weights(settings.interaction_weights, INTERACTION_TYPES)
    tuned = settings.ranking == AUTO and parameters is None
    matrix, similarity = read_taste_model(engine, weights, parameters=parameters, tuned=tuned)
    model = build_served_model(
        engine,
        matrix,
        similarity,
        n_neighbors=settings.top_n_similar_users,
        built_at=datetime.now(UTC),
        ranking=settings.ranking,
        version=published.number if published else None,
        new_product_percent=settings.new_product_percent,
    )
    engine.dispose()
    return model


def create_app() -> RecommendationApp:
    """Build the application; nothing is read before it starts."""
    app = RecommendationApp(
        title="Product recommendations",
        version="0.1.0",
        description="Exact, explained recommendations from your own ratings.",
        lifespan=lifespan,
    )
    add_problem_handlers(app)
    app.include_router(router)
    app.include_router(product_routes.router)
    app.include_router(catalog_routes.router)
    app.include_router(service_routes.router)
    return app


app = create_app()
