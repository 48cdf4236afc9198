"""The products that nobody has any more: the item model of an older version would still recommend them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Pair = tuple[NDArray[np.int32], NDArray[np.int32]]  # the columns of a user's products before a change, and after it


@dataclass(frozen=True, eq=False)
class Owners:
    """The number of people who have each product of the matrix."""

    counts: NDArray[np.int64]  # (n_products,) when the model was built
    more: dict[int, int] = field(default_factory=dict)  # since then, by column
    gone: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))  # products that nobody has
    _kept: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=list)  # the last masks

    def after(self, pairs: Iterable[Pair]) -> Owners:
        """Return the numbers after these changes."""
        changed: dict[int, int] = {}
        for before, now in pairs:
            for columns, step in ((before, -1), (now, 1)):
                for column in columns[columns < len(self.counts)].tolist():
                    changed[column] = changed.get(column, 0) + step
        steps = {column: step for column, step in changed.items() if step}
        if not steps:
            return self
        more = self.more | {column: self.more.get(column, 0) + step for column, step in steps.items()}
        nobody = [column for column in steps if self.counts[column] + more[column] == 0]
        others = self.gone[~np.isin(self.gone, list(steps))]
        return Owners(self.counts, more, np.concatenate([others, np.array(sorted(nobody), np.int32)]))

    def masked(self, inverse: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return factors of scores (n_products,) with 0 for products that nobody has. Equal requests share the copy."""
        for given, masked in self._kept[:1]:
            if given is inverse:
                return masked
        masked = inverse.copy()
        masked[self.gone] = 0.0
        self._kept[:] = [(inverse, masked)]
        return masked
