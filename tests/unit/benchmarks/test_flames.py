"""tests.benchmarks.flames: its files and its table. Nothing is recorded here."""

from __future__ import annotations

from collections import Counter

from tests.benchmarks import compare, flame_graph, flames


def test_it_names_a_file_after_its_endpoint() -> None:
    assert [flames.file_name(endpoint.title) for endpoint in compare.endpoints()] == [
        "get-api-services.svg",
        "get-api-patients-profile.svg",
        "get-api-bookings-limit-20.svg",
        "get-api-bookings-id.svg",
        "post-api-bookings.svg",
    ]


def test_it_tells_the_shares_of_an_endpoint_the_largest_first() -> None:
    found: Counter[flame_graph.Stack] = Counter({("get (redis/client.py)",): 1, ("find (pymongo/collection.py)",): 3})
    assert flames.shares("GET /", found) == "GET /: MongoDB driver 75 %, Redis 25 %"
