"""The headers that name the model of an answer, and the check whether the caller already has the answer.

``X-Model-Version`` is the number of the version whose lists the model continues, or ``none``. It is ``none`` also after
a roll-back without a model file, since the tables contain the changes that led to the later versions. ``X-Model-Age``
is the whole seconds since the model was built. ``ETag`` is strong and depends only on the body: the same body has the
same tag in every process. ``If-None-Match`` is compared weakly (RFC 9110, 8.8.3.2 and 13.1.2).
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any

from recommender.model import ServedModel

RawHeader = tuple[bytes, bytes]
PRIVATE = {"Cache-Control": "private"}  # about a person: a browser may cache it, a shared cache may not
_TAGS = re.compile(rb'("[\x21\x23-\x7e\x80-\xff]*")')

DOCUMENTED: dict[str, Any] = {
    "X-Model-Version": {
        "description": "The version that the model continues with what has come since; `none`: no published one.",
        "schema": {"type": "string", "pattern": "^([1-9][0-9]*|none)$"},
    },
    "X-Model-Age": {
        "description": "Whole seconds since the model was built.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "ETag": {
        "description": "Strong tag of the body; sent back as `If-None-Match` it gives 304 while the body is the same.",
        "schema": {"type": "string"},
    },
}
STAMP = {name: described for name, described in DOCUMENTED.items() if name != "ETag"}
IF_NONE_MATCH: dict[str, Any] = {
    "name": "If-None-Match",
    "in": "header",
    "description": "Tags of answers the caller has, or `*`.",
    "schema": {"type": "string"},
    "example": '"0123456789abcdef0123456789abcdef"',
}
NOT_MODIFIED: dict[str, Any] = {"description": "The caller has this answer already.", "headers": DOCUMENTED}


def etag_of(body: bytes) -> bytes:
    """Return the strong tag of a body, quotes included."""
    return b'"%s"' % blake2b(body, digest_size=16).hexdigest().encode()


def is_known(if_none_match: bytes, etag: bytes) -> bool:
    """Tell whether the header names the tag.

    >>> is_known(b'"a", W/"b"', b'"b"'), is_known(b"*", b'"b"'), is_known(b'"b', b'"b"')
    (True, True, False)
    """
    return if_none_match.strip() == b"*" or etag in _TAGS.findall(if_none_match)


class ModelStamp:
    """The version and age of the served model as headers, made again only when the model or the second changes."""

    def __init__(self) -> None:
        self._model: ServedModel | None = None
        self._built = 0.0
        self._second = -1
        self._version: RawHeader = (b"x-model-version", b"none")
        self._headers: tuple[RawHeader, ...] = ()

    def headers(self, model: ServedModel, now: float) -> tuple[RawHeader, ...]:
        """Return the two headers at ``now``, in seconds since 1970."""
        second = int(now)
        if model is not self._model:
            self._model, self._built, self._second = model, model.built_at.timestamp(), -1
            version = b"none" if model.version is None else b"%d" % model.version
            self._version = (b"x-model-version", version)
        if second != self._second:
            self._second = second
            self._headers = (self._version, (b"x-model-age", b"%d" % max(0, int(now - self._built))))
        return self._headers
