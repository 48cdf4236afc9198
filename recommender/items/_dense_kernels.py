"""Compiled loops of the dense form: products of the sparse profiles with themselves and with a dense matrix."""
# Numba infers its own types; the docstrings give shapes and dtypes.
# mypy: ignore-errors

from numba import njit

_outer = njit(cache=True, nogil=True, no_cfunc_wrapper=True)


@_outer
def gram(turned, rows, start, stop, ridge, out):
    """Write the lines start..stop of the lower half of A A' + ridge I into out (n, n) float64, zero before.

    rows: indptr, indices (ascending) and data of A' by rows; turned: those of A by rows.
    """
    indptr, indices, data = rows
    for j in range(start, stop):
        for at in range(turned[0][j], turned[0][j + 1]):
            row, value = turned[1][at], turned[2][at]
            for other in range(indptr[row], indptr[row + 1]):
                if indices[other] > j:
                    break
                out[j, indices[other]] += value * data[other]
        out[j, j] += ridge


@_outer
def dual_panel(turned, rows, inverse, start, stop, panel, divisors):
    """Write V = X'(XX' + ridge I)^-1 X of the targets start..stop into panel (m, n_products), 1 - V_ii into divisors.

    rows: indptr, indices and data of X; turned: those of X'. inverse (n_users, n_users): of XX' + ridge I.
    """
    indptr, indices, data = rows
    line = inverse[0].copy()
    for target in range(start, stop):
        line[:] = 0.0
        for at in range(turned[0][target], turned[0][target + 1]):
            user, value = turned[1][at], turned[2][at]
            for other in range(line.size):
                line[other] += value * inverse[user, other]
        found = panel[target - start]
        found[:] = 0.0
        for user in range(line.size):
            for at in range(indptr[user], indptr[user + 1]):
                found[indices[at]] += line[user] * data[at]
        divisors[target - start] = 1.0 - found[target]
