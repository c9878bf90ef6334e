"""Pictures that can be told apart after they were sent, re-encoded and stored: each of one colour."""

import io
import re
from pathlib import Path

from PIL import Image

# Far enough from each other that no re-encoding makes one another's.
STEP, LEVELS = 40, 7
FILE = re.compile(r"avatars/[0-9a-f]{2}/[0-9a-f]{32}\.webp")


def picture(number: int) -> tuple[str, bytes]:
    """Give the name of a colour and a PNG of it; LEVELS ** 3 numbers one after the other have different ones."""
    levels = number % LEVELS, number // LEVELS % LEVELS, number // LEVELS**2 % LEVELS
    out = io.BytesIO()
    red, green, blue = (level * STEP for level in levels)
    Image.new("RGB", (16, 16), (red, green, blue)).save(out, "PNG")
    return _name(levels), out.getvalue()


def colour_of(url: str | None, media: Path) -> str | None:
    """Give the name of the colour of the stored file that a URL names; None where it names none or none is there."""
    named = FILE.search(url or "")
    if named is None or not (media / named.group()).exists():
        return None
    with Image.open(media / named.group()) as image:
        pixel = image.convert("RGB").resize((1, 1)).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return _name(tuple(round(value / STEP) for value in pixel))


def _name(levels: tuple[int, ...]) -> str:
    return "colour " + " ".join(str(level) for level in levels)
