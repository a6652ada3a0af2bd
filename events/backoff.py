"""How long to wait before trying again: doubling, capped, spread."""

import random


def backoff_seconds(attempts: int, *, first: float = 1.0, longest: float = 300.0) -> float:
    """The wait after the `attempts`-th failure (1 or more): between half of and all of `first` doubled each time.

    The spread keeps many that failed together from coming back together.
    """
    full = min(longest, first * 2 ** min(attempts - 1, 30))
    return random.uniform(full / 2, full)  # noqa: S311 - spreads retries, keeps no secret
