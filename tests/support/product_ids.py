"""Product ids that a shop may have, among them those that look like something else to SQL, HTTP, CSV or JSON."""

from __future__ import annotations

from hypothesis import strategies as st

from recommender.shop import is_product_id

ODD = [
    "7", "007", "sku", "SKU", "Sku", "cafe", "café", "cafe\u0301", "a b", "...", "..x", ".a", "a,b", "a/b", "a%2Fb",
    "a?b", "a#b", "a&b=c", "a+b", "a;b", "a|b", "'", '"', "''; DROP TABLE users; --", "\\N", "\\t", "%s", "{0}", "null",
    "0.0", "مرحبا", "\u202eab", "\u200b", "🎁", "🎁" * 64, "é" * 64, "x" * 64, "B08N5WRWNW", "\U0010ffff", "~", "!",
]  # fmt: skip

_CHARACTERS = st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("aAäÄ0/%.,'\"\\ 🎁")
PRODUCT_IDS = st.text(_CHARACTERS, min_size=1, max_size=64).filter(is_product_id) | st.sampled_from(ODD)
