"""What people type, as it is stored: each character spelled in one way, and nothing in it that cannot be seen."""

import re
import unicodedata

_NEW_LINE = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# Controls but tab and new line, what turns the direction of the text around it, and the mark of a file's beginning. A
# zero byte stays: it is refused, since whoever sends one sends no text.
_UNSEEN = re.compile("[\x01-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")


def tidy(text: str, *, is_line: bool = False) -> str:
    """
    Give the text in Unicode's composed form (NFC), with simple line ends and without what cannot be seen.

    Of a line all white space becomes single spaces. Tidying what is tidy changes nothing.
    """
    seen = unicodedata.normalize("NFC", _UNSEEN.sub("", _NEW_LINE.sub("\n", text)))
    return " ".join(seen.split()) if is_line else seen
