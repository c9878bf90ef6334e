"""A dozen small abstract pictures, so that pages of the demo are not all initials."""

import hashlib
from colorsys import hls_to_rgb
from io import BytesIO
from random import Random

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image, ImageDraw, ImageFilter

from therapists.images import FOLDER

NUMBER = 12
SIDE = 256


def store_avatars() -> list[str]:
    """Write the pictures where they are not there yet, under names that never change; give their URLs."""
    urls = []
    for number in range(NUMBER):
        word = hashlib.md5(f"keepwell demo {number}".encode(), usedforsecurity=False).hexdigest()
        name = f"{FOLDER}/{word[:2]}/{word}.webp"
        if not default_storage.exists(name):
            name = default_storage.save(name, ContentFile(_picture(number)))
        urls.append(default_storage.url(name))
    return urls


def _picture(number: int) -> bytes:
    """Draw a head and shoulders without a face in front of soft light; the number decides the colours."""
    dice = Random(number)  # noqa: S311 - pictures, not secrets
    hue = number / NUMBER
    image = Image.new("RGB", (SIDE, SIDE), _colour(hue, 0.82))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y, radius = dice.randrange(SIDE), dice.randrange(SIDE), dice.randrange(40, 110)
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), fill=_colour(hue + dice.uniform(-0.1, 0.1), 0.72)
        )
    image = image.filter(ImageFilter.GaussianBlur(18))
    draw = ImageDraw.Draw(image)
    draw.ellipse((38, 168, 218, 380), fill=_colour(hue + 0.5, 0.38))
    draw.ellipse((84, 62, 172, 164), fill=_colour(hue + 0.08, 0.5))
    content = BytesIO()
    image.filter(ImageFilter.GaussianBlur(1)).save(content, "WEBP", quality=80)
    return content.getvalue()


def _colour(hue: float, lightness: float) -> tuple[int, int, int]:
    red, green, blue = hls_to_rgb(hue % 1.0, lightness, 0.45)
    return round(red * 255), round(green * 255), round(blue * 255)
