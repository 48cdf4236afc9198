"""The pages that open and end a session (`recommender.service.session`)."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from recommender.errors import DatabaseError
from recommender.service.pages.frame import ask_to_sign_in, refuse
from recommender.service.pages.words import moment
from recommender.service.problems import NOT_KEPT
from recommender.service.session import Sessions, is_own_form, session_of, set_cookie

router = APIRouter(include_in_schema=False)

_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")  # of this site, printable, without a backslash
ENDED_HERE = "You are signed out in this browser. The database does not answer, so other workers do not know it."
IN_A_COPY = "They take a copy of the cookie"
TO_END_ALL = "A new API_KEY in place of this one, and a restart, end all its sessions."
NOT_OURS = "This form was sent from another site, or its page is too old."


async def fields_of(request: Request) -> dict[str, str]:
    """Return the fields of a form; the first of each name counts."""
    pairs = parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200)
    return dict(reversed(pairs))


async def show(request: Request) -> Response:
    """Return the field for a key."""
    return ask_to_sign_in(request, status=200, to=_own_path(request.query_params.get("to", "/")))


async def sign_in(request: Request) -> Response:
    """Begin a session and go on to the page that was wanted, or say that the key is not right."""
    try:
        given = await fields_of(request)
    except ValueError:
        given = {}
    to = _own_path(given.get("to", "/"))
    if not is_own_form(request):
        return refuse(request, 403, NOT_OURS, "Load the page again and send it from there.")
    sessions: Sessions = request.app.state.sessions
    cookie = await asyncio.to_thread(sessions.begin, given.get("key", ""), time.time())
    if cookie is None:
        return ask_to_sign_in(request, fault="This key is not right.", to=to)
    return _sent_to(request, to, cookie)


async def sign_out(request: Request) -> Response:
    """End the session."""
    try:
        token = (await fields_of(request)).get("form_token", "")
    except ValueError:
        token = ""
    if not is_own_form(request, token):
        return refuse(request, 403, NOT_OURS, "Load the page again and send it from there.")
    if (session := session_of(request)) is not None:
        sessions: Sessions = request.app.state.sessions
        try:
            await sessions.end_everywhere(session, time.time(), request.app.state.updater)
        except DatabaseError:
            until = moment(datetime.fromtimestamp(session.ends, UTC))
            answer = refuse(request, 503, ENDED_HERE, f"{IN_A_COPY} until {until}, if there is one. {TO_END_ALL}")
            set_cookie(answer, request, "")
            return answer
    return _sent_to(request, "/", "")


def _own_path(to: str) -> str:
    return to if _PATH.fullmatch(to) else "/"


def _sent_to(request: Request, to: str, cookie: str) -> Response:
    answer = RedirectResponse(request.scope.get("root_path", "") + to, 303, NOT_KEPT)
    set_cookie(answer, request, cookie)
    return answer


# open with REQUIRE_KEY=all, too
router.add_route("/sign-in", show, methods=["GET"])
router.add_route("/sign-in", sign_in, methods=["POST"])
router.add_route("/sign-out", sign_out, methods=["POST"])
