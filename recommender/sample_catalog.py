"""``python -m recommender.sample_catalog``: writes a made-up catalog (`recommender.synthetic.catalog`)."""

import sys

from recommender.synthetic.catalog import main

if __name__ == "__main__":
    sys.exit(main())
