"""
Re-encode one image from stdin to a small WebP on stdout; run as a process of its own, by path, with bounds on itself.

A decoder is the part of an upload that an attacker reaches: here it has little memory, little time and no secrets.
Exit code 0: done. 3: refused, with the reason's code on stdout. Anything else: the bounds or a decoder's bug ended it.
"""

import contextlib
import io
import resource
import sys
import warnings
from typing import NoReturn

from PIL import (
    Image,
    ImageCms,
    ImageOps,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401 - not among the few that Pillow loads by itself; where one lacks, it loads all forty
)

MEMORY_BYTES = 512 * 2**20
CPU_SECONDS = 5
MAX_PIXELS = 16_000_000
EDGE = 512
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
REFUSED = 3


def bound() -> None:
    """Take memory, processor time and files away from this process. macOS knows no bound of the address space."""
    for what, most in ((resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(what, (most, most))
    if sys.platform != "darwin":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def recode(content: bytes) -> bytes:
    """Give the image's first frame, upright, at most EDGE pixels wide and high, as WebP without metadata."""
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None  # the header is checked below, before anything is decoded
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        refuse("not_an_image")
    if image.width * image.height > MAX_PIXELS:
        refuse("too_many_pixels")
    image.draft("RGB", (EDGE * 2, EDGE * 2))
    image.load()
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.thumbnail((EDGE, EDGE))
    image = _in_srgb(image, profile)
    # A new image over the same pixels: nothing of what the file carried besides comes along.
    bare = Image.new(image.mode, image.size)
    bare.paste(image)
    out = io.BytesIO()
    bare.save(out, "WEBP", quality=82, method=4)
    return out.getvalue()


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Turn colours of another profile into sRGB, which is what an image without a profile means."""
    if not profile or image.mode != "RGB":
        return image
    with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    return image


def refuse(code: str) -> NoReturn:
    """End with the reason."""
    sys.stdout.write(code)
    sys.stdout.flush()
    sys.exit(REFUSED)


def main() -> None:
    """Read, recode, write."""
    bound()
    content = sys.stdin.buffer.read()
    try:
        small = recode(content)
    except MemoryError:
        refuse("too_many_pixels")
    except (OSError, SyntaxError, ValueError, EOFError):
        # Pillow's decoders say so of files that end early or are malformed.
        refuse("damaged")
    sys.stdout.buffer.write(small)


if __name__ == "__main__":
    main()
