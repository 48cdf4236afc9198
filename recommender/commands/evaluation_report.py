"""An evaluation for people and for programs: a table in the terminal, ``evaluation.json``, a picture.

JSON: what `recommender.evaluation.result.Evaluation.to_dict` gives, figures as ``{"mean", "low", "high", "n"}``, null
where there is nothing to average; under ``cold_start`` the same of the steps for users without ratings. Files are
written beside their name and then moved: a reader sees the old one or the new.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from recommender.errors import InputFileError
from recommender.evaluation.result import COVERAGE, FIGURES, GROUPS, NDCG, Evaluation, Figure, ModeFigures
from recommender.paths import open_input, replace_file

# name in the table, how a number is shown
_LABELS = {
    NDCG: ("nDCG@10", "{:.4f}"),
    "recall@10": ("Recall@10", "{:.4f}"),
    "recall@20": ("Recall@20", "{:.4f}"),
    "map@10": ("MAP@10", "{:.4f}"),
    "hit_rate@10": ("hit rate@10", "{:.4f}"),
    COVERAGE: ("coverage@10", "{:.1%}"),
    "novelty@10": ("novelty@10, bits", "{:.2f}"),
    "served": ("users served", "{:.1%}"),
    "rmse": ("RMSE, stars", "{:.3f}"),
    "mae": ("MAE, stars", "{:.3f}"),
    "predicted": ("ratings predicted", "{:.1%}"),
}
_MISSING = "-"


def as_table(evaluation: Evaluation) -> str:
    """All figures, modes side by side, then nDCG by activity and the paired differences; fits a terminal, no colors."""
    modes = evaluation.modes
    head = [
        f"{evaluation.split}; {evaluation.n_test_users:,} of {evaluation.n_users:,} users tested, "
        f"{evaluation.n_products:,} products ranked, {evaluation.n_ratings:,} ratings, seed {evaluation.seed}",
        "in brackets: 95 % bootstrap interval over users; coverage has none, it is of all lists together",
        "",
    ]
    rows = [("", *(mode.name for mode in modes))]
    rows += [(_LABELS[name][0], *(_shown(mode.figures[name], _LABELS[name][1]) for mode in modes)) for name in FIGURES]
    rows.append(("seconds", *(_MISSING if mode.seconds is None else f"{mode.seconds:.2f}" for mode in modes)))
    rows.append(("",) * (len(modes) + 1))
    rows.append(("nDCG@10 by activity", *[""] * len(modes)))
    rows += [
        (_group_label(group, n_users), *(_shown(mode.by_activity[group][NDCG], "{:.4f}") for mode in modes))
        for group, n_users in evaluation.n_by_activity.items()
    ]
    differences = [
        f"nDCG@10 of {first} less {second}: {_shown(figure, '{:+.4f}')}, {_verdict(figure)}"
        for first, second, figure in evaluation.differences
    ]
    notes = [f"note: {note}" for note in evaluation.notes]
    return "\n".join([*head, *_aligned(rows), *([""] if differences else []), *differences, *notes])


def ladder_as_table(ladder: Evaluation) -> str:
    """What each step of the cold-start ladder finds, one line each (see `recommender.evaluation.cold_start`)."""
    names = (NDCG, "recall@20", "hit_rate@10", "served")
    rows = [("users without ratings", *(_LABELS[name][0] for name in names))]
    rows += [(step.name, *(_shown(step.figures[name], _LABELS[name][1]) for name in names)) for step in ladder.modes]
    return "\n".join([ladder.split, "", *_aligned(rows), *(f"note: {note}" for note in ladder.notes)])


def write_json(evaluation: Evaluation, path: Path, *, cold_start: Evaluation | None = None) -> None:
    """Write ``evaluation.json``, the ladder's under ``cold_start``; SettingError if it cannot be written."""
    data = evaluation.to_dict() | ({} if cold_start is None else {"cold_start": cold_start.to_dict()})
    text = json.dumps(data, indent=2, allow_nan=False)
    replace_file(path, lambda beside: beside.write_text(text + "\n", encoding="utf-8"))


def read_json(path: Path) -> Evaluation:
    """The evaluation that `write_json` wrote; InputFileError if there is none, SettingError if of another format."""
    try:
        with open_input(path, "evaluate first") as file:
            data = json.loads(file.read().decode())
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise InputFileError(f"{path} holds no JSON object: evaluate again")
    try:
        return Evaluation.from_dict(data)
    except (KeyError, TypeError, AttributeError):
        raise InputFileError(f"{path} holds no evaluation: evaluate again") from None


def draw_png(evaluation: Evaluation, path: Path) -> None:
    """Draw ranking quality, and nDCG by activity, of all modes with their intervals; SettingError as `write_json`."""
    from matplotlib.figure import Figure as Canvas  # 0.3 s, and only this picture needs it; no global state of pyplot

    canvas = Canvas(figsize=(11, 4.4), dpi=120, layout="constrained")
    left, right = canvas.subplots(1, 2, width_ratios=[3, 2])
    names = [NDCG, "recall@10", "recall@20", "map@10", "hit_rate@10"]
    labels = [_LABELS[name][0] for name in names]
    _bars(left, evaluation.modes, labels, lambda mode: [mode.figures[name] for name in names])
    groups = list(evaluation.n_by_activity)
    labels = [_group_label(group, evaluation.n_by_activity[group]).strip().replace(": ", "\n") for group in groups]
    _bars(right, evaluation.modes, labels, lambda mode: [mode.by_activity[group][NDCG] for group in groups])
    left.set_title("found among what was hidden", loc="left")
    right.set_title("nDCG@10 by activity", loc="left")
    left.legend(frameon=False, loc="upper left")
    canvas.suptitle(f"{evaluation.split}; {evaluation.n_test_users:,} users, 95 % intervals", x=0.01, ha="left")
    replace_file(path, lambda beside: canvas.savefig(beside, format="png"))


def _bars(axes: Any, modes: Sequence[ModeFigures], labels: list[str], chosen: Callable[[ModeFigures], Any]) -> None:
    """One group of bars for each label, one bar in it for each mode; nothing to average: no bar."""
    width = 0.8 / len(modes)
    for at, mode in enumerate(modes):
        there = [(place, figure) for place, figure in enumerate(chosen(mode)) if figure.mean is not None]
        means = [figure.mean for _, figure in there]
        # of few users the mean can lie outside of its percentile interval, and matplotlib refuses a negative length
        ends = [
            [max(figure.mean - figure.low, 0.0) for _, figure in there],
            [max(figure.high - figure.mean, 0.0) for _, figure in there],
        ]
        places = [place + width * (at - (len(modes) - 1) / 2) for place, _ in there]
        axes.bar(places, means, width * 0.92, yerr=ends, capsize=2, label=mode.name, error_kw={"lw": 1})
    axes.set_xticks(range(len(labels)), labels, fontsize=9)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)


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
