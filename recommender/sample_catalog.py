"""``python -m recommender.sample_catalog``: writes a made-up catalog (`recommender.synthetic.catalog`)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recommender.errors import RecommenderError, SettingError
from recommender.synthetic import DEFAULT_PRODUCTS, DEFAULT_SEED, write_sample_catalog


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the two files that the options ask for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m recommender.sample_catalog",
        description="Write a made-up product catalog with the columns of the Kaggle 'Amazon Products Dataset 2023': "
        "amazon_products.csv and amazon_categories.csv. The same --products and --seed give the same bytes.",
        epilog="Example, as large as the real file (1,426,337 rows, about 375 MB): "
        "python -m recommender.sample_catalog --products 1426337 --out big",
    )
    parser.add_argument("--products", type=int, default=DEFAULT_PRODUCTS, metavar="N", help="rows (%(default)s)")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, metavar="S", help="random seed (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder, made if missing (current)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    options = parser.parse_args(arguments)
    products, categories = options.out / "amazon_products.csv", options.out / "amazon_categories.csv"
    try:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(f"--out={options.out}: this folder cannot be made ({error.strerror})") from None
        write_sample_catalog(
            products, categories, n_products=options.products, seed=options.seed, overwrite=options.overwrite
        )
    except RecommenderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; no file was written", file=sys.stderr)
        return 130
    print(f"{options.products:,} made-up products in {products}, their categories in {categories}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
