"""The compiled loop behind filters: one pass over all products.

The file stands alone on purpose: numba's cache on disk notices a change in the kernel's own file only.
"""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, no_cfunc_wrapper=True)
def allowed(places, codes, wanted, prices, stars, listed, lowest_price, highest_price, lowest_stars, keep):
    """keep[i]: is the product at places[i] of the catalog, -1: not there, within all bounds? A bound of nan is none.

    codes (n,), wanted (n_codes,) flags or (0,): every category. listed (n_catalog,) flags or (0,): all.
    """
    for i in range(places.size):
        place = places[i]
        fits = place >= 0
        if fits:
            if wanted.size > 0:
                fits &= wanted[codes[i]]
            if listed.size > 0:
                fits &= listed[place]
            if not np.isnan(lowest_price):
                fits &= prices[place] >= lowest_price
            if not np.isnan(highest_price):
                fits &= prices[place] <= highest_price
            if not np.isnan(lowest_stars):
                fits &= stars[place] >= lowest_stars
        keep[i] = fits
