"""The choice among rivals that were measured on the same users, by a rule that chance does not move.

The plainer rival stays unless the best one is ahead of it by more than one standard error of their difference, user by
user (Breiman et al. 1984). One standard error is right for one rival: where nothing differs, chance alone carries it
that far ahead in 16 of 100 cases. The best of 24 rivals is carried so far in about 60. So the bar is raised to where
the best of all rivals together is 16 times of 100: the 84 % point of their largest t where nothing differs (the reality
check of White 2000). It is found with the differences themselves, centered, with signs drawn at random: rivals that
rank alike then count as few.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHANCE = 0.16  # of leaving the plainer rival where nothing differs: that of one standard error
N_DRAWS = 500
_DIGITS = 9  # sums may differ in the last bits from machine to machine

Found = NDArray[np.float64]  # (n_rivals, n_users)


def chosen_rival(found: Found, default: int, seed: int = 0) -> int:
    """Return the rival with the highest mean, or the default unless that is clearly behind; the first of equal ones.

    ``found`` (n_rivals, n_users): a figure of each rival for each user, such as nDCG.
    """
    best = int(np.argmax(np.round(found.mean(axis=1), _DIGITS)))
    return best if clearly_behind(found, default, seed) else default


def plainest_rival(found: Found, n_plain: int, seed: int = 0) -> int:
    """Return the first of the ``n_plain`` rivals at the head that is not clearly behind; the best if all are.

    ``found`` (n_rivals, n_users), the plainest first.
    """
    for rival in range(n_plain):
        if not clearly_behind(found, rival, seed):
            return rival
    return int(np.argmax(np.round(found.mean(axis=1), _DIGITS)))


def clearly_behind(found: Found, rival: int, seed: int = 0) -> bool:
    """Tell whether the best of all is ahead of one rival by more than chance explains.

    >>> found = np.array([[0.0, 0.0, 0.0, 0.1], [0.0, 0.1, 0.1, 0.2]])  # ahead by 0.1 for three of four users
    >>> clearly_behind(found, 0), clearly_behind(found, 1)
    (True, False)
    """
    ahead = found - found[rival]  # (n_rivals, n_users)
    means = np.round(ahead.mean(axis=1), _DIGITS)
    best = int(np.argmax(means))
    if means[best] <= 0.0:
        return False
    errors = standard_errors(ahead)
    if errors[best] == 0.0:
        return True
    return bool(round(means[best] / errors[best], _DIGITS) > _bar(ahead, means, errors, seed))


def standard_errors(ahead: Found) -> NDArray[np.float64]:
    """Return the standard error of each mean, (n_rivals,)."""
    errors: NDArray[np.float64] = np.round(ahead.std(axis=1, ddof=1) / np.sqrt(ahead.shape[1]), _DIGITS)
    return errors


def _bar(ahead: Found, means: NDArray[np.float64], errors: NDArray[np.float64], seed: int) -> float:
    """Return the 1 - CHANCE point of the largest t of all rivals where nothing differs."""
    varied = errors > 0.0
    centered = (ahead[varied] - means[varied, None]) / (errors[varied, None] * ahead.shape[1])
    signs = np.random.default_rng(seed).integers(0, 2, (N_DRAWS, ahead.shape[1])) * 2.0 - 1.0
    largest = np.einsum("ru,du->dr", centered, signs).max(axis=1)  # not by BLAS, whose sums depend on its threads
    return float(np.round(np.quantile(largest, 1.0 - CHANCE), _DIGITS))
