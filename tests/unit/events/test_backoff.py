"""events.backoff."""

import pytest

from events.backoff import backoff_seconds


@pytest.mark.parametrize(("attempts", "longest"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (1000, 300)])
def test_it_doubles_up_to_its_cap_and_is_spread_over_the_upper_half(attempts, longest):
    waits = [backoff_seconds(attempts) for _ in range(200)]
    assert all(longest / 2 <= wait <= longest for wait in waits)
    assert max(waits) - min(waits) > longest / 10
