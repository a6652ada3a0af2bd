"""A flame graph of collapsed stacks as a static SVG, small enough to be kept: callers above, whom they call below.

Own code, since what PyPI has draws other profilers' files, wraps a Perl script or brings JavaScript along.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from xml.etree import ElementTree

# The innermost frame whose file or name holds the pattern names the part; the first that fits wins.
PARTS = (
    ("gunicorn", "#c7b299", r"gunicorn"),
    ("JSON", "#f2cf5b", r"api/(renderers|envelope|parsers)"),
    ("MongoDB driver", "#8fd18f", r"pymongo|bson|booking_service/djongo"),
    ("validation", "#d4a6c8", r"rest_framework/(fields|serializers|validators)|serializers\.py"),
    ("sign-in", "#f28e8b", r"patients/(authentication|sign_in|tokens)|jwt|simplejwt"),
    ("log and metrics", "#a0cbe8", r"structlog|logging|prometheus|operations/"),
    ("Redis", "#ff9d6e", r"redis"),
    ("our views and services", "#76b7b2", r"(bookings|catalog|patients|events)/"),
    ("our API layer", "#b5d56a", r"booking_service/api/"),
    ("REST framework", "#b3a2d9", r"rest_framework"),
    ("Django", "#7fa8d8", r"django/"),
)
OTHER = "other"
COLOURS = {**{name: colour for name, colour, _ in PARTS}, OTHER: "#d0d0d0"}
# What every thread goes through before it has a request, and what it does between two of them.
WAY_TO_REQUEST = re.compile(
    r"\((threading\.py|concurrent/futures/|gunicorn/(__main__|app|arbiter|util|workers)|"
    r"booking_service/operations/gunicorn_(worker|followers)|<frozen)|^<module> "
)
WIDTH, TOP, ROW, LETTER, LEGEND_COLUMN = 1200, 90, 16, 6.7, 236
LEAST_SHARE, MOST_FRAMES = 0.004, 200  # 200 frames take some 30 kB

Stack = tuple[str, ...]


class NoSamples(Exception):
    """There is nothing to draw."""


@dataclass(slots=True)
class Frame:
    """A function where it was called from: the samples in it and in all it called."""

    name: str
    part: str
    samples: int = 0
    callees: dict[str, Frame] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Box:
    """A frame's place in the picture, in pixels; the top row is 0."""

    frame: Frame
    row: int
    left: int
    right: int


def part_of(stack: Stack) -> str:
    """The part of the code that a sample belongs to: the innermost frame that is anybody's."""
    for frame in reversed(stack):
        for name, _, pattern in PARTS:
            if re.search(pattern, frame):
                return name
    return OTHER


def stacks(collapsed: str) -> Counter[Stack]:
    """The stacks that py-spy saw, outermost frame first, from where the request begins, and how often.

    Raises NoSamples. No frame keeps its line or an absolute path.
    """
    found: Counter[Stack] = Counter()
    for line in collapsed.strip().splitlines():
        text, _, count = line.rpartition(" ")
        frames = [_short(frame) for frame in text.split(";")]
        found[_from_request(frames)] += int(count)
    if not found:
        raise NoSamples("There are no samples: the process did no work while it was watched.")
    return found


def _short(frame: str) -> str:
    """`function (package/module.py)`; py-spy itself cuts paths to their packages, where it finds these."""
    without_line = re.sub(r":\d+\)$", ")", frame.replace(".<locals>", ""))
    in_packages = re.sub(r"\(/.*/(?:site-packages|dist-packages|python3\.\d+)/", "(", without_line)
    return re.sub(r"\(/(?:.*/)?", "(", in_packages)


def _from_request(frames: list[str]) -> Stack:
    way = len(list(takewhile(WAY_TO_REQUEST.search, frames)))
    return tuple(frames[max(way - 1, 0) :])


def shares(found: Counter[Stack]) -> Counter[str]:
    """Samples by part of the code."""
    parts: Counter[str] = Counter()
    for stack, count in found.items():
        parts[part_of(stack)] += count
    return parts


def tree(found: Counter[Stack]) -> Frame:
    """All stacks in one frame that stands for everything; each frame below has the part its own samples count for."""
    root = Frame("all samples", OTHER, found.total())
    for stack, count in found.items():
        frame = root
        for depth, name in enumerate(stack, 1):
            if name not in frame.callees:
                frame.callees[name] = Frame(name, part_of(stack[:depth]))
            frame = frame.callees[name]
            frame.samples += count
    return root


def boxes(frame: Frame, *, total: int, row: int = 0, before: int = 0) -> Iterator[Box]:
    """Where `frame` and its callees go, the largest first; those below LEAST_SHARE of `total` are left out."""
    left, right = (round(WIDTH * samples / total) for samples in (before, before + frame.samples))
    yield Box(frame, row, left, right)
    for callee in sorted(frame.callees.values(), key=lambda callee: -callee.samples):
        if callee.samples >= LEAST_SHARE * total:
            yield from boxes(callee, total=total, row=row + 1, before=before)
        before += callee.samples


def widest(found: Counter[Stack]) -> list[Box]:
    """The frames to draw, callers before whom they call: a caller is never narrower."""
    return sorted(boxes(tree(found), total=found.total()), key=lambda box: -box.frame.samples)[:MOST_FRAMES]


def svg(title: str, found: Counter[Stack]) -> str:
    """The picture; the function, its file and its share show when the pointer rests on a frame."""
    drawn = widest(found)
    height = TOP + ROW * (max(box.row for box in drawn) + 1)
    style = {"font-family": "monospace", "font-size": "11", "viewBox": f"0 0 {WIDTH} {height}"}
    picture = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **style})
    _rect(picture, 0, 0, WIDTH, height, fill="white")
    _text(picture, 8, 20, f"{title}, {found.total():,} samples", **{"font-size": "15", "font-weight": "bold"})
    _legend(picture, shares(found))
    for part in COLOURS:
        same = [box for box in drawn if box.frame.part == part]
        if same:
            _draw(ElementTree.SubElement(picture, "g", fill=COLOURS[part], stroke="white"), same, found.total())
    _label(ElementTree.SubElement(picture, "g", {"pointer-events": "none"}), drawn)
    ElementTree.indent(picture, space="")
    return ElementTree.tostring(picture, encoding="unicode") + "\n"


def _legend(picture: ElementTree.Element, parts: Counter[str]) -> None:
    for place, (part, count) in enumerate(parts.most_common()):
        row, column = divmod(place, WIDTH // LEGEND_COLUMN)
        left, top = 8 + column * LEGEND_COLUMN, 30 + row * 18
        _rect(picture, left, top, 12, 12, fill=COLOURS[part])
        _text(picture, left + 17, top + 10, f"{part} {100 * count / parts.total():.1f} %")


def _draw(group: ElementTree.Element, same: list[Box], total: int) -> None:
    for box in same:
        rect = _rect(group, box.left, TOP + ROW * box.row, box.right - box.left, ROW)
        share = 100 * box.frame.samples / total
        ElementTree.SubElement(rect, "title").text = f"{box.frame.name} {share:.1f} %"


def _label(group: ElementTree.Element, drawn: list[Box]) -> None:
    for box in drawn:
        letters = int((box.right - box.left - 6) / LETTER)
        texts = (box.frame.name, box.frame.name.partition(" (")[0])
        fitting = next((text for text in texts if len(text) <= letters), None)
        if fitting:
            _text(group, box.left + 3, TOP + ROW * box.row + 12, fitting)


def _rect(
    parent: ElementTree.Element, left: int, top: int, width: int, height: int, **more: str
) -> ElementTree.Element:
    place = {"x": f"{left}", "y": f"{top}", "width": f"{width}", "height": f"{height}"}
    return ElementTree.SubElement(parent, "rect", {**place, **more})


def _text(parent: ElementTree.Element, left: int, baseline: int, text: str, **more: str) -> None:
    ElementTree.SubElement(parent, "text", {"x": f"{left}", "y": f"{baseline}", **more}).text = text
