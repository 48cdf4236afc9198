"""The measurement of a ranking's quality, on ratings that it has not seen.

split            the split into training and hidden ratings
metrics          nDCG, recall, coverage, RMSE and their intervals
rankers          the rankings in the form that an evaluation needs
measure          one evaluation
result           the result of an evaluation
comparison       all rankings of a shop side by side
cold_start       each step of the cold start by itself
tuning           the ranking and its constants, chosen on the shop's own ratings
rivals           what a tuning chooses from
choice           the rule of the choice
advice           the ranking that a shop should run
gate             the decision whether a new version may replace the published one
gate_statistics  the two tests of the gate
"""

from recommender.evaluation.advice import as_advice, as_hint
from recommender.evaluation.choice import chosen_rival, plainest_rival, standard_errors
from recommender.evaluation.cold_start import ColdStartRanker, evaluate_cold_start, strangers
from recommender.evaluation.comparison import evaluate_rankings, published_parameters, stand_in
from recommender.evaluation.gate import judge, metrics_of
from recommender.evaluation.gate_statistics import FORCED, REFUSED, history_of
from recommender.evaluation.measure import Ranker, evaluate
from recommender.evaluation.rankers import ClassicRanker, PopularRanker
from recommender.evaluation.result import COVERAGE, DEPTH, FIGURES, GROUPS, NDCG, Evaluation, Figure, K
from recommender.evaluation.rivals import Rivals
from recommender.evaluation.split import Split, before_the_cut, hide_newest, limited, split_newest, turned_to
from recommender.evaluation.tuning import Tuned, tune

__all__ = [
    "COVERAGE",
    "DEPTH",
    "FIGURES",
    "FORCED",
    "GROUPS",
    "NDCG",
    "REFUSED",
    "ClassicRanker",
    "ColdStartRanker",
    "Evaluation",
    "Figure",
    "K",
    "PopularRanker",
    "Ranker",
    "Rivals",
    "Split",
    "Tuned",
    "as_advice",
    "as_hint",
    "before_the_cut",
    "chosen_rival",
    "evaluate",
    "evaluate_cold_start",
    "evaluate_rankings",
    "hide_newest",
    "history_of",
    "judge",
    "limited",
    "metrics_of",
    "plainest_rival",
    "published_parameters",
    "split_newest",
    "stand_in",
    "standard_errors",
    "strangers",
    "tune",
    "turned_to",
]
