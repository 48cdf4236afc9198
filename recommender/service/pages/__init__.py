"""The pages that people see in a browser, made on the server from what the API's routes answer.

frame     templates, headers, who may see a page, what stands there if it fails
assets    style sheet, icon, htmx
sign_in   begins and ends a session
overview  the shop at a glance
shopper   one person: what they rated, what is recommended, and why
basket    products that are picked, and the list for them
product   one product: who rates it, what goes with it, who gets it
taste_map everybody a point, near to those of the same taste
versions  all versions, and the way back
twins     the API's GET routes under /json, for a browser with a session
saving    stores the ratings of a what-if, and undoes it
moves     what moved in a list
cards     what is shown of a product
words     values as a reader sees them
charts    charts as SVG
pictures  pictures of products, and drawings in their place
"""

from recommender.service.pages import (
    assets,
    basket,
    overview,
    product,
    saving,
    shopper,
    sign_in,
    taste_map,
    twins,
    versions,
)
from recommender.service.pages.frame import answer_browsers

_MODULES = (assets, sign_in, overview, saving, shopper, basket, product, taste_map, versions, twins)
PAGES = tuple(module.router for module in _MODULES)

__all__ = ["PAGES", "answer_browsers"]
