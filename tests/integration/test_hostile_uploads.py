"""Uploads that mean harm: refused or made harmless, and never dear to the web process."""

import gc
import io
import os
import random
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from PIL import Image

from tests.factories import Cast
from therapists import images
from therapists.images import ImageRefused, Upload

AVATAR = "/api/v1/therapists/me/avatar/"
MOST_MEMORY = 64 * 2**20
MUTATIONS, AT_ONCE = 100, 2
SCRIPT = b"<script>alert(1)</script>PK\x03\x04"
GPS, ORIENTATION = 0x8825, 0x0112


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def blank_png(edge: int) -> bytes:
    """A whole picture of one bit a pixel: a few kilobytes that become hundreds of megabytes."""
    rows = zlib.compress((b"\0" + bytes(edge // 8)) * edge, 9)
    header = struct.pack(">IIBBBBB", edge, edge, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def from_a_camera() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif.get_ifd(GPS)[2] = (51.0, 30.0, 12.0)
    return encoded(Image.new("RGB", (600, 300), "red"), "JPEG", exif=exif)


@dataclass(frozen=True)
class Hostile:
    """A file, how it is called, and the code that it is refused with; empty: it is re-encoded."""

    what: str
    content: bytes
    name: str
    declared: str
    code: str = ""
    status: int = 400


def uploads() -> list[Hostile]:
    png, jpeg = (encoded(Image.effect_noise((300, 200), 90), form) for form in ("PNG", "JPEG"))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    largest = encoded(Image.frombytes("RGB", (1850, 1850), os.urandom(1850 * 1850 * 3)), "PNG", compress_level=0)
    assert 9.7 * 2**20 < len(largest) < 10 * 2**20
    return [
        Hostile("a bomb of 12,000 x 12,000", blank_png(12_000), "me.png", "image/png", "too_many_pixels"),
        Hostile("a bomb of 20,000 x 20,000", blank_png(20_000), "me.png", "image/png", "too_many_pixels"),
        Hostile("the most that is allowed", blank_png(4_000), "me.png", "image/png"),
        Hostile("the largest file", largest, "me.png", "image/png"),
        Hostile("a file that is too large", largest + bytes(2**20), "me.png", "image/png", "image_too_large", 413),
        Hostile("something behind the picture", png + SCRIPT, "me.png", "image/png"),
        Hostile("another ending", png, "me.gif", "image/png", "image_name_mismatch"),
        Hostile("another ending and type", png, "me.gif", "text/html", "image_type_unsupported"),
        Hostile("a page's type", jpeg, "me.jpg", "text/html", "image_type_unsupported"),
        Hostile("a page's name", jpeg, "me.html", "image/jpeg", "image_name_mismatch"),
        Hostile("a program's name", jpeg, "me.jpg.php", "image/jpeg", "image_name_mismatch"),
        Hostile("a name from elsewhere", jpeg, "C:\\x\\..\\me.JPG", "image/jpeg"),
        Hostile("no ending", jpeg, "blob", "image/jpeg"),
        Hostile("a place where it was taken", from_a_camera(), "me.jpeg", "image/jpeg"),
        Hostile("SVG", svg, "me.svg", "image/svg+xml", "image_type_unsupported"),
        Hostile("SVG that is called PNG", svg, "me.png", "image/png", "not_an_image"),
        Hostile("PHP", b"<?php system($_GET['x']);", "me.php", "application/x-php", "image_type_unsupported"),
        Hostile("a GIF that is a script", b"GIF89a=1;alert(1)//", "me.gif", "image/gif", "not_an_image"),
        Hostile("another decoder", encoded(Image.new("RGB", (9, 9)), "TIFF"), "me.tiff", "image/tiff", "image_type_unsupported"),
        Hostile("another decoder, called PNG", b"8BPS\0\1" + bytes(99), "me.png", "image/png", "not_an_image"),
        Hostile("PostScript that is called JPEG", b"%!PS-Adobe-3.0 EPSF-3.0\n", "me.jpg", "image/jpeg", "not_an_image"),
    ]  # fmt: skip


def mutations() -> list[Upload]:
    """Small real pictures with bytes flipped, left out, doubled or cut off; the same every time."""
    seeded, made = random.Random(20261122), []
    picture = Image.frombytes("RGB", (64, 48), seeded.randbytes(64 * 48 * 3))
    originals = [(encoded(picture, form), f"image/{form.lower()}") for form in ("JPEG", "PNG", "GIF", "WEBP")]
    for number in range(MUTATIONS):
        content, declared = bytearray(originals[number % 4][0]), originals[number % 4][1]
        for _ in range(seeded.choice((1, 3, 20))):
            # What stands behind the first bytes: the first are looked at before anything is decoded.
            place = seeded.randrange(12, len(content))
            match seeded.choice(("flip", "cut", "leave out", "double", "most")):
                case "flip":
                    content[place] ^= 1 << seeded.randrange(8)
                case "cut" if len(content) > 60:
                    del content[max(place, 40) :]
                case "leave out":
                    del content[place : place + seeded.randrange(1, 9)]
                case "double":
                    content[place:place] = content[place : place + seeded.randrange(1, 99)]
                case _:
                    content[place : place + 4] = b"\xff\xff\xff\xff"
        made.append(Upload(bytes(content), declared))
    return made


def outcome(upload: Upload) -> str:
    try:
        found = Image.open(io.BytesIO(images.reencoded(upload)))
    except ImageRefused as refused:
        return refused.code
    found.load()
    assert found.format == "WEBP"
    assert max(found.size) <= 512
    assert not {"exif", "icc_profile", "xmp", "comment"} & set(found.info)
    return "re-encoded"


def memory(name: str) -> int:
    """Give VmRSS, or VmHWM, the most since it was last reset, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def test_p10_are_refused_or_re_encoded_and_cost_the_web_process_little(
    cast: Cast, client: Client, settings: Any, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path
    client.force_login(cast.ada)
    sent = [(one, encode_multipart(BOUNDARY, {"image": SimpleUploadedFile(one.name, one.content, one.declared)})) for one in uploads()]  # fmt: skip
    damaged = mutations()
    assert client.delete(AVATAR).status_code == 200  # whatever is imported late is here by now
    gc.collect()
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
        before = memory("VmRSS")

    for one, body in sent:
        answer = client.put(AVATAR, body, MULTIPART_CONTENT)
        if one.code:
            assert (one.what, answer.status_code, answer.json()["code"]) == (one.what, one.status, one.code)
            continue
        assert answer.status_code == 200, (one.what, answer.content)
        url = answer.json()["data"]["avatar_url"]
        assert images.NAME.fullmatch(url.removeprefix("/media/")), one.what
        kept = Path(default_storage.path(url.removeprefix("/media/"))).read_bytes()
        assert kept[8:12] == b"WEBP"
        assert b"script" not in kept
        assert b"EXIF" not in kept
        if one.what == "a place where it was taken":
            assert Image.open(io.BytesIO(kept)).size == (256, 512), "upright"
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(outcome, damaged))

    assert {"re-encoded", "damaged"} <= set(outcomes), "the mutations reach the decoders, and not all are harmless"
    if sys.platform == "linux":
        assert memory("VmHWM") - before <= MOST_MEMORY
