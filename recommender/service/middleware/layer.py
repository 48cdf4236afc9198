"""One ASGI layer around the framework, with everything around a route: limits, headers, log, metrics, cached answers.

A request that the same model has answered before is answered from the cache, ahead of the framework's routing, with the
bytes that the route gave. All others go through the framework. Its response is held until the body is there. Then it
gets a request id, an ``ETag`` and the model's headers, or the headers of an HTML page. The model is the one in
``request.state.model``, if the route names one: a newer one may be served by then. A POST gets no ``ETag``. Each
request is counted and logged by the template of its route; requests that no route answered (404, 405, 413, 414) count
as "other".

Cached answers and the ``FastPath`` bypass the framework's dependencies and inner middleware. A check that every request
must pass belongs in ``__call__``, before the cache. If every request needs a key (`require`), that is so, and the
cache holds answers to requests with a key. Otherwise it holds only answers to requests without a key: a request with a
key, which may get more, neither reads nor fills it. So nobody gets an answer that was made for others.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recommender.errors import SettingError
from recommender.live import LiveModel
from recommender.model import ServedModel
from recommender.service.api_keys import RAW_HEADER, ApiKeys, closed_to
from recommender.service.asked_people import about_people, refuse_other_people
from recommender.service.middleware.answer_cache import AnswerCache, CachedAnswer
from recommender.service.middleware.fast_path import NOT_KEPT, PRIVATE, FastPath
from recommender.service.middleware.limits import page_headers, read_body, refusal
from recommender.service.middleware.metrics import ServiceMetrics
from recommender.service.middleware.request_log import RequestLog
from recommender.service.model_headers import ModelStamp, RawHeader, etag_of, is_known
from recommender.service.slashes import mark_slashes
from recommender.service.state import ServiceState
from recommender.updates import ANNOUNCED

OTHER = "other"
MODEL_ROUTES = frozenset(
    {
        *("/recommendations/{user_id}", "/products/{product_id}/similar", "/products/{product_id}", "/popular"),
        *("/similar", "/products"),
        *("/users/{user_id}/neighbors", "/users/{user_id}/ratings"),
    }
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_READING = frozenset({"GET", "HEAD"})
_ABOUT_BODY = frozenset({b"content-type", b"content-length"})
_HAS_BODY = frozenset({b"content-length", b"transfer-encoding"})
_CACHE_CONTROL = b"cache-control"
_NO_ROUTE = frozenset({405, 413, 414})


class ServiceLayer:
    """The layer. ``app`` is the framework's, ``state`` its state."""

    def __init__(self, app: ASGIApp, state: ServiceState, *, log: RequestLog | None = None) -> None:
        self._app = app
        self._state = state
        self.fast_path: FastPath | None = None
        self.keys: ApiKeys | None = None  # every request needs one of them; None: only some routes need a key
        self.request_timeout = 10.0  # seconds within which a body has to come
        self._asks_otherwise = _HAS_BODY | {RAW_HEADER}  # headers of requests that are never cached
        self.templates: dict[object, str] = {}  # of routes, by their functions
        self.pages: tuple[re.Pattern[str], ...] = ()  # paths of pages, which ask for a key themselves
        self.answers = AnswerCache()
        self.log = log or RequestLog()
        self.metrics = ServiceMetrics(state, self.log)
        self.stamp = ModelStamp()

    def require(self, keys: ApiKeys) -> None:
        """Refuse every request without one of the keys, except those of `api_keys.OPEN`. SettingError without a key."""
        if not keys:
            raise SettingError(
                "REQUIRE_KEY=all needs a key: set API_KEY, too, for example to what this prints: openssl rand -hex 24"
            )
        self.keys, self._asks_otherwise = keys, _HAS_BODY
        if self.fast_path is not None:
            self.fast_path.named = True

    @property
    def model(self) -> LiveModel | None:
        """The model that is served now."""
        return self._state.model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        scope = mark_slashes(scope)
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = self._id_of(headers)
        if (
            self.keys is not None
            and (closed := closed_to(scope, self.keys)) is not None
            and not self._asks_to_sign_in(scope)
        ):
            # without headers: its body is not waited for
            await self._ask(closed, scope, receive, send, {}, request_id, started)
            return
        if started > self._state.due and about_people(scope["method"], scope["path"]):
            assert self._state.updater is not None
            await self._state.updater.people_known()
        model, answer = self.model, None
        if self._state.means_others(model) and about_people(scope["method"], scope["path"]):
            refused = refuse_other_people(announced=self._state.people == ANNOUNCED)
            await self._ask(refused, scope, receive, send, headers, request_id, started)
            return
        if scope["method"] in _READING and self._asks_otherwise.isdisjoint(headers):
            answer = self.answers.get(model, (scope["path"], scope["query_string"]))
            if answer is None and model is not None and self._may_shorten(scope, headers):
                try:
                    answer = self._by_shortcut(scope, model)
                except Exception as error:
                    assert self.fast_path is not None
                    failing = self.fast_path.failing(error)
                    await self._ask(failing, scope, receive, send, headers, request_id, started)
                    return
        if answer is None or model is None:
            await self._ask(self._app, scope, receive, send, headers, request_id, started)
            return
        status = await self.reply(scope, headers, send, model, answer, request_id)
        self.note(scope, answer.route, status, perf_counter() - started, request_id, answer.source)

    async def observe(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let ``app`` answer in the place of the framework; the request is counted and logged like all others."""
        started, headers = perf_counter(), dict(scope["headers"])
        await self._ask(app, scope, receive, send, headers, self._id_of(headers), started)

    async def reply(
        self,
        scope: Scope,
        asked: Mapping[bytes, bytes],
        send: Send,
        model: ServedModel,
        answer: CachedAnswer,
        request_id: bytes,
    ) -> int:
        """Send an answer of ``model``, or 304 if the caller has it; return the status. ``asked``: the headers."""
        status, body = 200, answer.body
        headers = [*answer.headers, *self.stamp.headers(model, time.time()), (b"x-request-id", request_id)]
        if b"if-none-match" in asked and _has_it(scope, answer.etag):
            status, body = 304, b""
        else:
            headers += answer.about_body
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return status

    def note(
        self, scope: Scope, route: str, status: int, seconds: float, request_id: bytes, source: str | None
    ) -> None:
        """Count and log one answered request."""
        self.metrics.count(route, status, seconds, source)
        self.log.add(request_id.decode(), scope["method"], route, status, seconds)

    def _asks_to_sign_in(self, scope: Scope) -> bool:
        """Tell whether the path is that of a page."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return any(page.match(path) for page in self.pages)

    def _id_of(self, headers: Mapping[bytes, bytes]) -> bytes:
        """Return the caller's request id if it is a valid one, else a new one."""
        given = headers.get(b"x-request-id")
        return given if given is not None and _REQUEST_ID.fullmatch(given) else self.log.new_id().encode()

    def _may_shorten(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        return self.fast_path is not None and self.fast_path.takes(scope) and refusal(scope, headers) is None

    def _by_shortcut(self, scope: Scope, model: ServedModel) -> CachedAnswer | None:
        """Return the answer, cached as long as the model stays; None if the framework has to answer."""
        assert self.fast_path is not None
        answer = self.fast_path.answer(scope, model)
        if answer is not None and NOT_KEPT not in answer.headers:
            self.answers.keep(model, (scope["path"], scope["query_string"]), answer)
        return answer

    async def _ask(
        self,
        app: ASGIApp,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Mapping[bytes, bytes],
        request_id: bytes,
        started: float,
    ) -> None:
        """Let ``app``, mostly the framework, answer, unless the request is too large or its body too slow."""
        exchange = _Exchange(self, scope, send, request_id, with_key=RAW_HEADER in headers)
        try:
            refused = refusal(scope, headers)
            if refused is None and not _HAS_BODY.isdisjoint(headers):
                refused, receive = await read_body(receive, self.request_timeout)
            answering = refused or app
            await answering(scope, receive, exchange.send)
        finally:
            self.note(scope, exchange.route, exchange.status, perf_counter() - started, request_id, exchange.source)


def _has_it(scope: Scope, etag: bytes) -> bool:
    return is_known(b",".join(value for name, value in scope["headers"] if name == b"if-none-match"), etag)


class _Exchange:
    """One request's way through the framework; ``status`` stays 500 if no answer begins."""

    __slots__ = ("_held", "_layer", "_model", "_request_id", "_scope", "_send", "_with_key", "source", "status")

    def __init__(self, layer: ServiceLayer, scope: Scope, send: Send, request_id: bytes, *, with_key: bool) -> None:
        self._layer, self._scope, self._send, self._request_id = layer, scope, send, request_id
        self._model, self._with_key = layer.model, with_key
        self._held: Message | None = None
        self.status = 500
        self.source: str | None = None

    @property
    def route(self) -> str:
        """The template of the route that answered."""
        if self.status in _NO_ROUTE:
            return OTHER
        template = self._layer.templates.get(self._scope.get("endpoint"))
        return str(template or getattr(self._scope.get("route"), "path", OTHER))

    async def send(self, message: Message) -> None:
        """Pass a message on; the start of an answer waits for its body."""
        if message["type"] == "http.response.start":
            self.status, self._held = message["status"], message
            return
        if (start := self._held) is not None:
            self._held = None
            if self.status == 200 and self.route in MODEL_ROUTES and not message.get("more_body"):
                await self._send_model_answer(start, message.get("body", b""))
                return
            headers = self._private(start)
            own = dict(headers)
            if own.get(b"content-type", b"").startswith(b"text/html") and b"content-security-policy" not in own:
                headers += page_headers(message.get("body", b""))
            if self.status == 200 and (asked := self._scope.get("state", {}).get("model")) is not None:
                headers += self._layer.stamp.headers(asked, time.time())
            headers.append((b"x-request-id", self._request_id))
            await self._send({**start, "headers": headers})
        await self._send(message)

    def _private(self, start: Message) -> list[RawHeader]:
        """Return the answer's own headers, with ``private`` after a request with a key: shared caches ignore keys."""
        headers = [(bytes(name), bytes(value)) for name, value in start.get("headers", ())]
        if self._with_key and not any(name == _CACHE_CONTROL for name, _ in headers):
            headers.append(PRIVATE)
        return headers

    async def _send_model_answer(self, start: Message, body: bytes) -> None:
        headers = self._private(start)
        own = dict(headers)
        self.source = own.get(b"x-recommendation-source", b"").decode() or None
        etag = etag_of(body)
        answer = CachedAnswer(
            self.route,
            self.source,
            etag,
            body,
            tuple(header for header in headers if header[0] in _ABOUT_BODY),
            (*(header for header in headers if header[0] not in _ABOUT_BODY), (b"etag", etag)),
        )
        layer, scope = self._layer, self._scope
        asked: ServedModel | None = scope.get("state", {}).get("model", self._model)
        model = scope.get("state", {}).get("model", layer.model)
        if model is None:
            raise RuntimeError("an answer of a model without a model")
        mine = self._with_key and layer.keys is None  # where every request has a key, all may get it
        mine = mine or b"no-store" in own.get(_CACHE_CONTROL, b"")
        if asked is layer.model and scope["method"] in _READING and not mine:
            layer.answers.keep(model, (scope["path"], scope["query_string"]), answer)
        self.status = await layer.reply(scope, dict(scope["headers"]), self._send, model, answer, self._request_id)
