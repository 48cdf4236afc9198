"""The parameters of the rankings, which may be chosen for a shop (`recommender.evaluation.tuning`).

A version's settings keep them as plain numbers (`as_settings`, `chosen_parameters`), and so does a model file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

N_NEIGHBORS = 200
DAMPING = 0.2

CLASSIC, TASTE, ITEMS, AUTO = "classic", "taste", "items", "auto"
FUSION = "fusion"  # one of the choices of auto
RANKINGS = (CLASSIC, TASTE, ITEMS, AUTO)
BY_TASTE = (TASTE, ITEMS, AUTO)  # the rankings by profiles, which need neighbors by taste
KINDS = (TASTE, ITEMS, FUSION)  # what auto chooses from

MOST_NEIGHBORS, HIGHEST_POWER, LARGEST = 100_000, 4.0, 1e9


class TasteParameters(NamedTuple):
    """The parameters of taste. The defaults suit every shop."""

    n_neighbors: int = N_NEIGHBORS
    damping: float = DAMPING


class ItemParameters(NamedTuple):
    """The parameters of items. The first two decide the weights between products, the others their use."""

    ridge: float = 200.0  # lambda: the larger, the nearer all weights are to 0
    length_power: float = 0.0  # the power of a profile's length that divides its weight in training
    half_life: float = 3.0  # in products: a product counts half if so many of the user's are newer; 0: all count fully
    damping: float = 0.1  # the power of a product's raters that divides its score


class FusionParameters(NamedTuple):
    """The parameters of a fusion of taste and items by reciprocal ranks."""

    weight: float = 0.5  # of items; that of taste is 1 - weight
    constant: float = 60.0  # added to both ranks


class AutoParameters(NamedTuple):
    """What auto ranks by, and with which parameters."""

    kind: str = TASTE  # of `KINDS`
    taste: TasteParameters = TasteParameters()
    items: ItemParameters = ItemParameters()
    fusion: FusionParameters = FusionParameters()

    @property
    def needs_items(self) -> bool:
        """True if the weights between products are needed."""
        return self.kind != TASTE

    def as_settings(self) -> dict[str, Any]:
        """Return the parameters that are used, as plain numbers by name; `chosen_parameters` reads them."""
        taste = self.taste._asdict() if self.kind != ITEMS else {}
        items = {ITEMS: self.items._asdict()} if self.needs_items else {}
        fusion = {FUSION: self.fusion._asdict()} if self.kind == FUSION else {}
        return {"chosen": self.kind} | taste | items | fusion


def chosen_parameters(settings: Mapping[str, Any]) -> AutoParameters | None:
    """Return the parameters in the settings of a version that auto ranked; None for another ranking.

    A version of an earlier release says nothing of items: auto was taste then.
    """
    if settings.get("ranking") != AUTO:
        return None
    return parameters_of(settings)


def parameters_of(settings: Mapping[str, Any]) -> AutoParameters:
    """Return the parameters that `AutoParameters.as_settings` wrote. ValueError, TypeError, KeyError for others."""
    kind = settings.get("chosen") or TASTE
    if kind not in KINDS:
        raise ValueError(f"auto cannot rank by {kind!r:.40}")
    taste, items, fusion = TasteParameters(), ItemParameters(), FusionParameters()
    if kind != ITEMS:
        taste = TasteParameters(int(settings["n_neighbors"]), float(settings["damping"]))
    if kind != TASTE:
        items = ItemParameters(**{name: float(settings[ITEMS][name]) for name in ItemParameters._fields})
    if kind == FUSION:
        fusion = FusionParameters(**{name: float(settings[FUSION][name]) for name in FusionParameters._fields})
    found = AutoParameters(kind, taste, items, fusion)
    if not _in_range(found):
        raise ValueError("its parameters are out of range")
    return found


def _in_range(found: AutoParameters) -> bool:
    """Tell whether a ranking can be made by these parameters. NaN is in no range."""
    powers = found.taste.damping, found.items.damping, found.items.length_power
    others = found.items.half_life, found.fusion.constant
    inside = 1 <= found.taste.n_neighbors <= MOST_NEIGHBORS and 0.0 < found.items.ridge <= LARGEST
    inside &= 0.0 <= found.fusion.weight <= 1.0
    return inside and all(0.0 <= x <= HIGHEST_POWER for x in powers) and all(0.0 <= x <= LARGEST for x in others)
