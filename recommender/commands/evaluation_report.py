"""Reports of an evaluation, for people and programs: a table in the terminal, ``evaluation.json``, a picture.

The JSON is that of `recommender.evaluation.result.Evaluation.to_dict`: figures are ``{"mean", "low", "high", "n"}``,
null where there is nothing to average. ``cold_start`` holds the same for the steps for users without ratings. A file is
written under another name and then moved, so a reader sees the old file or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from recommender.commands.bar_chart import Panel, as_svg
from recommender.evaluation import COVERAGE, FIGURES, GROUPS, NDCG, Evaluation, Figure
from recommender.paths import replace_file

# name in the table, format of its numbers
_LABELS = {
    NDCG: ("nDCG@10", "{:.4f}"),
    "recall@10": ("Recall@10", "{:.4f}"),
    "recall@20": ("Recall@20", "{:.4f}"),
    "map@10": ("MAP@10", "{:.4f}"),
    "hit_rate@10": ("hit rate@10", "{:.4f}"),
    COVERAGE: ("coverage@10", "{:.1%}"),
    "novelty@10": ("novelty@10, bits", "{:.2f}"),
    "served": ("users served", "{:.1%}"),
    "rmse": ("RMSE, {noun}", "{:.3f}"),
    "mae": ("MAE, {noun}", "{:.3f}"),
    "predicted": ("ratings predicted", "{:.1%}"),
}
_MISSING = "-"


def as_table(evaluation: Evaluation, noun: str = "stars") -> str:
    """Return all figures, rankings side by side, then nDCG by activity and the paired differences; without colors.

    ``noun``: what ratings count.
    """
    rankings = evaluation.rankings
    head = [
        f"{evaluation.split}; {evaluation.n_test_users:,} of {evaluation.n_users:,} users tested, "
        f"{evaluation.n_products:,} products ranked, {evaluation.n_ratings:,} {evaluation.counted}, "
        f"seed {evaluation.seed}",
        "in brackets: 95 % bootstrap interval over users; coverage has none, it is of all lists together",
        "",
    ]
    rows = [("", *(ranking.name for ranking in rankings))]
    rows += [
        (_LABELS[name][0].format(noun=noun), *(_shown(ranking.figures[name], _LABELS[name][1]) for ranking in rankings))
        for name in FIGURES
    ]
    rows.append(
        ("seconds", *(_MISSING if ranking.seconds is None else f"{ranking.seconds:.2f}" for ranking in rankings))
    )
    rows.append(("",) * (len(rankings) + 1))
    rows.append(("nDCG@10 by activity", *[""] * len(rankings)))
    rows += [
        (_group_label(group, n_users), *(_shown(ranking.by_activity[group][NDCG], "{:.4f}") for ranking in rankings))
        for group, n_users in evaluation.n_by_activity.items()
    ]
    differences = [
        f"nDCG@10 of {first} less {second}: {_shown(figure, '{:+.4f}')}, {_verdict(figure)}"
        for first, second, figure in evaluation.differences
    ]
    notes = [f"note: {note}" for note in evaluation.notes]
    return "\n".join([*head, *_aligned(rows), *([""] if differences else []), *differences, *notes])


def cold_start_as_table(cold_start: Evaluation) -> str:
    """Return what each step of the cold start finds, one line each (see `recommender.evaluation.cold_start`)."""
    names = (NDCG, "recall@20", "hit_rate@10", "served")
    rows = [("users without ratings", *(_LABELS[name][0] for name in names))]
    rows += [
        (step.name, *(_shown(step.figures[name], _LABELS[name][1]) for name in names)) for step in cold_start.rankings
    ]
    return "\n".join([cold_start.split, "", *_aligned(rows), *(f"note: {note}" for note in cold_start.notes)])


def write_json(evaluation: Evaluation, path: Path, *, cold_start: Evaluation | None = None) -> None:
    """Write ``evaluation.json``, with ``cold_start`` under that key; SettingError if it cannot be written."""
    data = evaluation.to_dict() | ({} if cold_start is None else {"cold_start": cold_start.to_dict()})
    text = json.dumps(data, indent=2, allow_nan=False)
    replace_file(path, lambda beside: beside.write_text(text + "\n", encoding="utf-8"))


def draw_svg(evaluation: Evaluation, path: Path) -> None:
    """Draw quality, and nDCG by activity, of all rankings with their intervals; SettingError as `write_json`."""
    names, groups = [NDCG, "recall@10", "recall@20", "map@10", "hit_rate@10"], evaluation.n_by_activity
    found = [[ranking.figures[name] for name in names] for ranking in evaluation.rankings]
    by_activity = [[ranking.by_activity[group][NDCG] for group in groups] for ranking in evaluation.rankings]
    counts = [_group_label(group, groups[group]).strip().replace(": ", "\n") for group in groups]
    panels = (
        Panel("found among what was hidden", 700, [_LABELS[name][0] for name in names], found),
        Panel("nDCG@10 by activity", 460, counts, by_activity),
    )
    title = f"{evaluation.split}; {evaluation.n_test_users:,} users, 95 % intervals"
    text = as_svg(title, [ranking.name for ranking in evaluation.rankings], panels)
    replace_file(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def _shown(figure: Figure, style: str) -> str:
    if figure.mean is None:
        return _MISSING
    mean = style.format(figure.mean)
    if figure.low is None or figure.high is None:
        return mean
    return f"{mean} [{style.format(figure.low)}, {style.format(figure.high)}]"


def _verdict(figure: Figure) -> str:
    if figure.low is None or figure.high is None or figure.low <= 0.0 <= figure.high:
        return "no difference that these users could show"
    return "a difference"


def _group_label(group: str, n_users: int) -> str:
    least, most = GROUPS[group]
    span = f"{least}+" if most is None else f"{least}-{most}"
    return f"  {group} ({span}): {n_users:,} users"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
