"""Characters that nobody sees: two texts that look the same must be the same."""

import re
import unicodedata

# Unicode's Default_Ignorable_Code_Point, controls, the blank Braille pattern, which is no space, and what is no
# character, or half of one.
_NEVER_SEEN = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Seen by what they do to their neighbours: Indic scripts and Persian are not written right without U+200C and U+200D,
# nor emoji without variation selectors.
JOINERS = "\u200c\u200d" + "".join(map(chr, range(0xFE00, 0xFE10)))
UNSEEN = re.compile(f"[{_NEVER_SEEN}]")
UNSEEN_OR_JOINER = re.compile(f"[{_NEVER_SEEN}{JOINERS}]")


def as_seen(text: str) -> str:
    """Names and cities as they are compared: case, white space, and how letters are encoded do not matter."""
    if not text.isascii():
        text = UNSEEN_OR_JOINER.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(text.split()).casefold()
