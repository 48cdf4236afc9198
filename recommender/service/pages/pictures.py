"""Pictures of products: those of the catalog with PRODUCT_IMAGES=1, else one drawn from category and title.

A drawing is the same on every machine. Products of one category share its shape, and each has colors of its own.
"""

from __future__ import annotations

from hashlib import blake2b
from urllib.parse import urlsplit

from markupsafe import Markup, escape

_SHAPES = (
    '<circle cx="32" cy="26" r="{a}"/><rect x="14" y="38" width="36" height="{b}" rx="4"/>',
    '<rect x="12" y="14" width="40" height="36" rx="{b}"/><circle cx="32" cy="32" r="{b}" {light}/>',
    '<path d="M32 {b} 54 50H10Z"/><circle cx="32" cy="40" r="5" {light}/>',
    '<rect x="10" y="20" width="{c}" height="28" rx="5"/><rect x="26" y="12" width="{c}" height="28" rx="5" {light}/>',
    '<ellipse cx="32" cy="34" rx="{c}" ry="{a}"/><path d="M20 22q12-{b} 24 0" {line}/>',
    '<path d="M12 {c}q20-26 40 0v22H12Z"/><rect x="26" y="38" width="12" height="14" rx="2" {light}/>',
    '<circle cx="24" cy="32" r="{a}"/><circle cx="40" cy="32" r="{a}" {light}/>',
    '<rect x="22" y="10" width="20" height="44" rx="{b}"/><path d="M26 {c}h12M26 40h12" {line}/>',
)


def placeholder(product_id: str, title: str | None, category_id: int | None) -> Markup:
    """Return the drawing of a product as SVG; decoration, so readers of screens pass it over."""
    shape = _SHAPES[_number(f"category {category_id}", len(_SHAPES))]
    own = f"{product_id} {title or ''}"
    hue = (_number(f"hue {category_id}", 360) + _number(f"shift {own}", 60)) % 360
    ground = (hue + 20 + _number(f"ground {own}", 80)) % 360
    a, b, c = (low + _number(f"{name} {own}", 6) for name, low in (("a", 11), ("b", 9), ("c", 24)))
    light, line = f'fill="hsl({hue} 60% 88%)"', f'fill="none" stroke="hsl({hue} 60% 88%)" stroke-width="3"'
    drawn = shape.format(a=a, b=b, c=c, light=light, line=line)
    letter = next((letter.upper() for letter in title or "" if letter.isalnum()), "")
    # every part but the letter is made of numbers and of the shapes above
    return Markup(
        f'<svg class="picture" viewBox="0 0 64 64" aria-hidden="true" focusable="false">'
        f'<rect width="64" height="64" fill="hsl({ground} 45% 90%)"/><g fill="hsl({hue} 45% 52%)">{drawn}</g>'
        f'<text x="58" y="60" text-anchor="end" font-size="13" font-weight="700" fill="hsl({hue} 60% 25%)">'
        f"{escape(letter)}</text></svg>"
    )


def origin_of(url: str | None) -> str | None:
    """Return scheme and host of a picture's address, as a content security policy names it; None if it is unusable.

    >>> origin_of("https://m.example.com/a.jpg"), origin_of("javascript:alert(1)"), origin_of("https://a; b/x")
    ('https://m.example.com', None, None)
    """
    try:
        parts = urlsplit(url or "")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    plain = host.isascii() and host.replace("-", "").replace(".", "").isalnum()
    if parts.scheme not in ("http", "https") or not plain or "@" in parts.netloc:
        return None
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _number(text: str, below: int) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=4).digest()) % below
