"""The session of a person at the pages: a signed cookie that ends by itself, in the place of a key.

The key is typed once, at /sign-in. The cookie then holds ``END.NONCE.SIGNATURE``: the second at which it ends, a random
number, and an HMAC-SHA256 of both. The secret of the HMAC is derived from the key by scrypt, so the cookie reveals no
key, every worker accepts the cookie, and a key that leaves ``API_KEY`` takes its sessions with it. Only the routes of
the pages read the cookie.

A session that somebody ends is noted in the table ``recommender_sign_outs`` until it would have ended, so no worker
accepts a copy of its cookie a second later. While the database is away, a worker knows the notes of before.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from contextlib import suppress
from functools import lru_cache
from hashlib import scrypt
from typing import NamedTuple
from urllib.parse import urlsplit

from fastapi import Request, Response
from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.schema import CreateTable

from recommender.database import database_errors, table_is_there, writing
from recommender.database.schema import sign_outs
from recommender.errors import DatabaseError
from recommender.service.api_keys import ApiKeys, has_key
from recommender.updates import ModelUpdater

COOKIE = "recommender_session"
LIFETIME = 8 * 3600  # seconds
LOOK = 1.0  # seconds between two looks at what other workers ended
_FORM = re.compile(r"([0-9]{10})\.([0-9a-f]{32})\.([0-9a-f]{64})")
_SALT = b"the session of a person at the pages, 1"


class Session(NamedTuple):
    """A session that holds: its end in seconds since 1970, and the token that its forms have to send back."""

    ends: int
    nonce: str
    form_token: str


class Sessions:
    """The sessions that the keys open. Sessions that were ended here are remembered until they would have ended."""

    def __init__(self, keys: ApiKeys | None = None) -> None:
        self._keys = keys or ApiKeys()
        self._ended: dict[str, int] = {}
        self._looked = 0.0

    def begin(self, key: str, now: float) -> str | None:
        """Return the cookie of a new session; None if the key is not right."""
        given = key.strip().encode("utf-8", "replace")
        if not self._keys.accept(given):
            return None
        signed = f"{int(now) + LIFETIME}.{secrets.token_hex(16)}"
        return f"{signed}.{_mac(given, signed)}"

    def read(self, cookie: str, now: float) -> Session | None:
        """Return the session of a cookie; None if it has ended or no key of now has signed it."""
        found = _FORM.fullmatch(cookie)
        if found is None:
            return None
        end, nonce, mac = found.groups()
        signer = [key for key in self._keys.all if hmac.compare_digest(_mac(key, f"{end}.{nonce}"), mac)]
        if not signer or int(end) <= now or nonce in self._ended:
            return None
        return Session(int(end), nonce, _mac(signer[0], f"form {nonce}"))

    def end(self, session: Session, now: float) -> None:
        """Accept the session no more on this worker."""
        self._ended = {nonce: ends for nonce, ends in self._ended.items() if ends > now}
        self._ended[session.nonce] = session.ends

    async def end_everywhere(self, session: Session, now: float, watch: ModelUpdater) -> None:
        """Accept the session no more, and note that for the other workers. DatabaseError: only this one knows it."""
        self.end(session, now)
        await watch.read(lambda engine: _note(engine, session, now))

    async def learn(self, now: float, watch: ModelUpdater) -> None:
        """Learn which sessions other workers ended, if the last look was `LOOK` seconds ago."""
        if now < self._looked + LOOK:
            return
        self._looked = now
        with suppress(DatabaseError):
            self._ended |= await watch.read(lambda engine: _noted(engine, now))


def _note(engine: Engine, session: Session, now: float) -> None:
    with writing(engine) as connection:
        connection.execute(CreateTable(sign_outs, if_not_exists=True))
        connection.execute(delete(sign_outs).where(sign_outs.c.ends <= int(now)))
        connection.execute(delete(sign_outs).where(sign_outs.c.nonce == session.nonce))
        connection.execute(insert(sign_outs).values(nonce=session.nonce, ends=session.ends))


def _noted(engine: Engine, now: float) -> dict[str, int]:
    statement = select(sign_outs.c.nonce, sign_outs.c.ends).where(sign_outs.c.ends > int(now))
    with database_errors(engine), engine.connect() as connection:
        if not table_is_there(connection, sign_outs.name):
            return {}
        return {nonce: int(ends) for nonce, ends in connection.execute(statement)}


@lru_cache(64)
def _secret(key: bytes) -> bytes:
    """Return the secret of a key. It takes 50 ms, so a thief of a cookie cannot try out many keys."""
    return scrypt(key, salt=_SALT, n=2**14, r=8, p=1, dklen=32)


def _mac(key: bytes, text: str) -> str:
    return hmac.digest(_secret(key), text.encode(), "sha256").hex()


async def learn_endings(request: Request) -> None:
    """Learn which sessions other workers ended, before the session of a request is read."""
    state = request.app.state
    if COOKIE in request.cookies and state.updater is not None:
        await state.sessions.learn(time.time(), state.updater)


def session_of(request: Request) -> Session | None:
    """Return the session of a request to a page; None without one."""
    sessions: Sessions = request.app.state.sessions
    cookie = request.cookies.get(COOKIE)
    return None if cookie is None else sessions.read(cookie, time.time())


def may_see_people(request: Request) -> bool:
    """Tell whether a page may show people to the caller: with a session, or with a right key in the header."""
    return session_of(request) is not None or has_key(request)


def is_own_form(request: Request, token: str | None = None) -> bool:
    """Tell whether a POST comes from a form of these pages; with a session its token must be right as well.

    A browser names the site that a form is on (``Sec-Fetch-Site``, over plain HTTP to other machines only ``Origin``).
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    if site is None and origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return False
    session = session_of(request)
    return session is None or token is None or hmac.compare_digest(session.form_token.encode(), token.encode())


def set_cookie(response: Response, request: Request, value: str) -> None:
    """Give the browser the session; an empty ``value`` takes it away."""
    response.set_cookie(
        COOKIE,
        value,
        max_age=LIFETIME if value else 0,
        path=f"{request.scope.get('root_path', '')}/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
