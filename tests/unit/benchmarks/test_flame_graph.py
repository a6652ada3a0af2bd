"""tests.benchmarks.flame_graph: what it keeps of the stacks, and that what it draws can be kept."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from tests.benchmarks import flame_graph

SVG = "{http://www.w3.org/2000/svg}"
LOOP = "_bootstrap (threading.py);run (concurrent/futures/thread.py);handle (gunicorn/workers/gthread.py)"
REQUEST = f"{LOOP};handle_request (gunicorn/workers/gthread.py)"
VIEW = "get (rest_framework/views.py)"


def stacks(*lines: str) -> Counter[flame_graph.Stack]:
    return flame_graph.stacks("\n".join(lines))


def drawn(found: Counter[flame_graph.Stack]) -> dict[str, float]:
    """The widths of the frames, by what shows when the pointer rests on them."""
    picture = ElementTree.fromstring(flame_graph.svg("GET /", found))
    return {
        str(rect.findtext(f"{SVG}title")): float(rect.attrib["width"])
        for rect in picture.iter(f"{SVG}rect")
        if rect.find(f"{SVG}title") is not None
    }


def deep_and_wide(seed: int) -> Counter[flame_graph.Stack]:
    """More frames than any endpoint's, with names as long as the longest usual ones."""
    chance = random.Random(seed)
    names = [f"SomewhatLongClass.and_method_{n} (booking_service/operations/module_{n}.py)" for n in range(30)]
    lines = [";".join(chance.choices(names[:3], k=30) + chance.choices(names, k=20)) + " 3" for _ in range(900)]
    return stacks(*lines)


def test_it_begins_a_stack_with_the_last_frame_before_the_request() -> None:
    found = stacks(f"{REQUEST};{VIEW} 5")
    assert found == {("handle_request (gunicorn/workers/gthread.py)", VIEW): 5}


def test_it_keeps_the_innermost_frame_of_a_stack_without_a_request() -> None:
    assert stacks(f"{LOOP} 2") == {("handle (gunicorn/workers/gthread.py)",): 2}


def test_it_keeps_a_later_frame_that_only_looks_like_the_way_to_a_request() -> None:
    found = stacks(f"{REQUEST};{VIEW};acquire (threading.py) 1")
    assert found == {("handle_request (gunicorn/workers/gthread.py)", VIEW, "acquire (threading.py)"): 1}


def test_it_counts_two_lines_of_a_function_as_one_frame() -> None:
    assert stacks("get (bookings/views.py:10) 1", "get (bookings/views.py:12) 2") == {("get (bookings/views.py)",): 3}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/home/me/.venv/lib/python3.11/site-packages/django/http/request.py:7", "django/http/request.py"),
        ("/usr/lib/python3/dist-packages/redis/client.py", "redis/client.py"),
        ("/usr/lib/python3.11/json/encoder.py:20", "json/encoder.py"),
        ("/srv/redis/wsgi.py:20", "wsgi.py"),
        ("/gunicorn.conf.py", "gunicorn.conf.py"),
        ("bookings/views.py", "bookings/views.py"),
    ],
)
def test_it_keeps_no_absolute_path(path: str, shown: str) -> None:
    found = stacks(f"call ({path}) 1")
    assert found == {(f"call ({shown})",): 1}
    assert "(/" not in flame_graph.svg("GET /", found)


def test_it_counts_a_sample_for_the_innermost_frame_that_is_anybodys() -> None:
    json_by_redis = "get (django_redis/client.py);loads (json/__init__.py)"
    found = stacks(f"{VIEW};{json_by_redis} 3", f"{VIEW} 1", "run (somewhere.py) 1")
    assert flame_graph.shares(found) == {"Redis": 3, "REST framework": 1, "other": 1}


def test_it_gives_each_frame_the_width_of_its_share_and_callers_that_of_all_they_call() -> None:
    found = stacks("a (x.py);b (x.py) 30", "a (x.py);c (x.py);d (x.py) 50", "a (x.py) 10", "e (x.py) 10")
    widths = drawn(found)
    assert widths == {
        "all samples 100.0 %": 1200,
        "a (x.py) 90.0 %": 1080,
        "c (x.py) 50.0 %": 600,
        "d (x.py) 50.0 %": 600,
        "b (x.py) 30.0 %": 360,
        "e (x.py) 10.0 %": 120,
    }


@pytest.mark.parametrize("seed", range(3))
def test_it_draws_every_frame_below_its_caller_and_none_over_another(seed: int) -> None:
    boxes = flame_graph.widest(deep_and_wide(seed))
    for box in boxes:
        above = [other for other in boxes if other.row == box.row - 1 and box.frame in other.frame.callees.values()]
        assert [caller.left <= box.left and box.right <= caller.right for caller in above] == [True] * (box.row > 0)
    for row in {box.row for box in boxes}:
        places = sorted((box.left, box.right) for box in boxes if box.row == row)
        assert all(right <= left for (_, right), (left, _) in pairwise(places))


def test_it_leaves_out_what_is_too_narrow_but_counts_it() -> None:
    found = stacks("a (x.py);b (x.py) 997", "a (x.py);c (redis/x.py) 3")
    assert drawn(found) == {"all samples 100.0 %": 1200, "a (x.py) 100.0 %": 1200, "b (x.py) 99.7 %": 1196}
    assert "Redis 0.3 %" in flame_graph.svg("GET /", found)


def test_it_is_small_enough_to_be_kept() -> None:
    picture = flame_graph.svg("GET /api/bookings?limit=20", deep_and_wide(1))
    assert picture.count("<title>") == flame_graph.MOST_FRAMES
    assert len(picture) < 40_000


def test_it_escapes_what_names_and_titles_hold() -> None:
    found = stacks("<listcomp> (a&b.py) 4")
    picture = flame_graph.svg("GET /?a=1&b=<2>", found)
    assert "&lt;listcomp&gt; (a&amp;b.py)" in picture
    texts = [text.text for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]
    assert "GET /?a=1&b=<2>, 4 samples" in texts
    assert "<listcomp> (a&b.py)" in texts


def test_it_holds_no_script_and_loads_nothing() -> None:
    elements = {
        e.tag.removeprefix(SVG) for e in ElementTree.fromstring(flame_graph.svg("GET /", deep_and_wide(2))).iter()
    }
    assert elements == {"svg", "g", "rect", "text", "title"}


def test_it_writes_a_name_where_it_fits() -> None:
    found = stacks("long_enough_a_name (x.py) 99", "no_room_for_this (x.py) 1")
    texts = [text.text for text in ElementTree.fromstring(flame_graph.svg("GET /", found)).iter(f"{SVG}text")]
    assert "long_enough_a_name (x.py)" in texts
    assert not any("no_room" in str(text) for text in texts)


@pytest.mark.parametrize("nothing", ["", "\n"])
def test_it_says_so_when_there_is_nothing_to_draw(nothing: str) -> None:
    with pytest.raises(flame_graph.NoSamples, match="no samples"):
        flame_graph.stacks(nothing)
