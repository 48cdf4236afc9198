"""The counters of the service, and the text of ``GET /metrics`` for Prometheus.

Counting a request takes about a microsecond: plain dictionaries and lists, only on the event loop's thread. The text is
made by prometheus_client. Labels are bounded: the routes of the application and "other", never a path.

Each worker process counts for itself. To watch several workers, give each a port of its own.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from recommender.model import EVIDENT
from recommender.service.middleware.request_log import RequestLog
from recommender.service.state import ServiceState

BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds
_LIMITS = [*map(str, BUCKETS), "+Inf"]
LIST_SOURCES = (*EVIDENT, "mixed", "popular")


class RouteCounts:
    """The requests of one route."""

    __slots__ = ("buckets", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * len(_LIMITS)
        self.seconds = 0.0


class ServiceMetrics(Collector):
    """The counters and their collector; ``state`` is the application's."""

    def __init__(self, state: ServiceState, log: RequestLog | None = None) -> None:
        self.routes: dict[str, RouteCounts] = {}
        self.sources = dict.fromkeys(LIST_SOURCES, 0)
        self._state, self._log = state, log
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def count(self, route: str, status: int, seconds: float, source: str | None) -> None:
        """Count one answered request."""
        counts = self.routes.get(route)
        if counts is None:
            counts = self.routes[route] = RouteCounts()
        counts.statuses[status] = counts.statuses.get(status, 0) + 1
        counts.buckets[bisect_left(BUCKETS, seconds)] += 1
        counts.seconds += seconds
        if source is not None:
            self.sources[source] = self.sources.get(source, 0) + 1

    def text(self) -> bytes:
        """Return the text for Prometheus."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; those of the model and the database once these are loaded."""
        yield from self._of_requests()
        if self._log is not None:
            lost = "Lines of the request log that were dropped, as nobody read them in time"
            yield CounterMetricFamily("recommender_dropped_log_lines", lost, value=self._log.dropped)
        if (model := self._state.model) is not None:
            age = max(0.0, time.time() - model.built_at.timestamp())
            yield _gauge("model_age_seconds", "Seconds since the served model was built", age)
            yield _gauge("model_users", "Users that the served model knows", len(model.known_users))
            yield _gauge("model_products", "Products in its catalog", len(model.products.catalog))
            yield _gauge("model_ratings", "Ratings it counts", model.n_ratings)
            yield _left_out(model.left_out)
        if (watch := self._state.updater) is not None:
            others = "1 while user_ids mean others than the model's, or are about to, and get no answer"
            yield _gauge("other_people", others, int(self._state.means_others(model)))
            yield _gauge("database_up", "1 if the database answers, 0 if not", int(watch.is_up))
            errors = CounterMetricFamily(
                "recommender_database_errors", "Questions that the database did not answer", value=watch.errors
            )
            yield errors
        if watch is not None and model is not None:
            yield _gauge("pull_lag_seconds", "Seconds since the tables were last looked at for changes", watch.lag)
            yield _gauge("changed_users", "Users who have changed since the model was built", len(model.changes.users))
            failed = "Newer models that could not be loaded"
            yield CounterMetricFamily("recommender_failed_loads", failed, value=watch.failed_loads)

    def _of_requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "recommender_requests", "Requests answered, by route and status", labels=["route", "status"]
        )
        duration = HistogramMetricFamily(
            "recommender_request_duration_seconds", "Time to answer, by route", labels=["route"]
        )
        for route, counts in sorted(self.routes.items()):
            for status, n in sorted(counts.statuses.items()):
                requests.add_metric([route, str(status)], n)
            buckets = list(zip(_LIMITS, accumulate(counts.buckets), strict=True))
            duration.add_metric([route], buckets, counts.seconds)
        yield requests
        yield duration
        answers = CounterMetricFamily(
            "recommender_recommendations", "Lists of recommendations answered, by source", labels=["source"]
        )
        for source, n in self.sources.items():
            answers.add_metric([source], n)
        yield answers


def _left_out(rows: Mapping[str, int]) -> Metric:
    meaning = "Rows of the tables that the model was not made from, by the column at fault"
    gauge = GaugeMetricFamily("recommender_rows_left_out", meaning, labels=["table", "column"])
    for where, count in rows.items():
        gauge.add_metric(where.split(".", 1), count)
    return gauge


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"recommender_{name}", meaning, value=value)
