"""Compare the requests per second of this checkout with another's, in turn, on one machine.

    git worktree add ../before main
    python -m benchmarks.against ../before          # 15 pairs of rounds for each route of benchmarks.serve
    python -m benchmarks.against ../before --large --pairs 21

Each checkout makes the same shop by its own steps, and serves it with one worker, as ``benchmarks.serve`` does. Each
pair of rounds gives a ratio: seconds for a request here to seconds there. The table shows the median of the ratios and
its 95 % interval by order statistics (the ranks between which a binomial count of one half falls). A route is slower if
its interval lies wholly above 1.03; the exit status is then 1. A wide interval means that the machine was busy.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from scipy.stats import binom

from benchmarks.serve import KEPT_USERS, LARGE, ROOT, ROUTES, USUAL, Shop, make_shop, measured, server

TOLERANCE = 1.03
FEWEST_PAIRS = 15


def median_interval(values: list[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of a median without assumptions on the distribution; at least 6 values for 95 %.

    >>> median_interval([float(value) for value in range(1, 16)])
    (4.0, 12.0)
    """
    ranked = sorted(values)
    # values to drop at each end: the median lies among them with a chance of (1 - confidence) / 2 at most
    spare = int(binom.ppf((1 - confidence) / 2, len(values), 0.5)) - 1
    return ranked[max(0, spare)], ranked[min(len(values) - 1, len(values) - 1 - spare)]


def compare(other: Path, shop: Shop, *, pairs: int, seconds: float) -> bool:
    """Print the table; tell whether a route is slower here."""
    with ExitStack() as stack:
        ports: dict[tuple[Path, bool], int] = {}
        for root in (ROOT, other):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            env = make_shop(shop, folder, root=root)
            for computed, size in ((False, {}), (True, {"ANSWER_CACHE_MB": "0"})):
                log = folder / f"{computed}.log"
                ports[root, computed] = stack.enter_context(server(["api:app"], env | size, log, root=root))
        print(f"{shop.users:,} users, {shop.ratings:,} ratings, {pairs} pairs of {seconds} s\n")
        print("| answer | time here / there | 95 % interval |\n|---|---:|---:|")
        slower = False
        for name, (computed, path) in ROUTES.items():
            users = shop.users if computed else min(shop.users, KEPT_USERS)
            for root in (ROOT, other):
                measured(ports[root, computed], path.replace("{price}", "9.99"), 1_000 if computed else users, 0)
            ratios = []
            for pair in range(pairs):
                turns = (ROOT, other) if pair % 2 else (other, ROOT)
                rate = {root: measured(ports[root, computed], path, users, seconds)["rate"] for root in turns}
                ratios.append(rate[other] / rate[ROOT])
            low, high = median_interval(ratios)
            slower |= low > TOLERANCE
            print(f"| {name} | {statistics.median(ratios):.3f} | {low:.3f} to {high:.3f} |", flush=True)
    return slower


def main() -> int:
    """Run the comparison; return 1 if a route is slower here."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("other", type=Path, help="a checkout of the commit to compare with")
    parser.add_argument("--pairs", type=int, default=FEWEST_PAIRS, help=f"of rounds (default: {FEWEST_PAIRS})")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a round (default: 1)")
    parser.add_argument("--large", action="store_true", help="200,000 users")
    options = parser.parse_args()
    if options.pairs < FEWEST_PAIRS:
        parser.error(f"--pairs {options.pairs}: at least {FEWEST_PAIRS}, else the interval says nothing")
    shop = LARGE if options.large else USUAL
    return int(compare(options.other.resolve(), shop, pairs=options.pairs, seconds=options.seconds))


if __name__ == "__main__":
    sys.exit(main())
