"""What may become an avatar, and what it is afterwards."""

import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from therapists import images
from therapists.images import ImageRefused, Upload, recode

ORIENTATION, GPS, MAKER = 0x0112, 0x8825, 0x010F
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def picture(width: int = 900, height: int = 600, mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (width, height), "white" if mode != "RGBA" else (255, 255, 255, 0))
    ImageDraw.Draw(image).rectangle((0, 0, width // 3, height // 3), fill="red")
    return image


def png_that_claims(width: int, height: int) -> bytes:
    """A small file whose header promises many pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def small(content: bytes, declared: str = "image/jpeg") -> Image.Image:
    return Image.open(io.BytesIO(images.reencoded(Upload(content, declared))))


def refused(content: bytes, declared: str = "image/jpeg") -> str:
    with pytest.raises(ImageRefused) as caught:
        images.reencoded(Upload(content, declared))
    assert str(caught.value).endswith(".")
    return caught.value.code


class TestAccepted:
    @pytest.mark.parametrize(
        ("form", "declared", "mode"),
        [("JPEG", "image/jpeg", "RGB"), ("JPEG", "image/jpg", "CMYK"), ("PNG", "image/png", "RGBA"),
         ("PNG", "image/png", "I;16"), ("PNG", "image/png", "P"), ("WEBP", "image/webp", "RGBA"),
         ("GIF", "image/gif", "P"), ("PNG", "image/png", "1")],
    )  # fmt: skip
    def test_becomes_a_small_webp(self, form: str, declared: str, mode: str) -> None:
        source = Image.new(mode, (900, 600)) if mode in {"I;16", "1", "P", "CMYK"} else picture(mode=mode)
        found = small(encoded(source, form), declared)
        assert (found.format, found.size) == ("WEBP", (512, 341))

    def test_keeps_transparency(self) -> None:
        found = small(encoded(picture(mode="RGBA"), "PNG"), "image/png")
        assert found.mode == "RGBA"
        assert found.getpixel((500, 330))[3] == 0  # type: ignore[index]

    def test_takes_the_first_frame_of_an_animation(self) -> None:
        frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "green", "blue")]
        for form, declared in (("GIF", "image/gif"), ("WEBP", "image/webp")):
            found = small(encoded(frames[0], form, save_all=True, append_images=frames[1:]), declared)
            red, green, blue = found.convert("RGB").getpixel((30, 20))  # type: ignore[misc]
            assert red > 200 > 60 > max(green, blue)
            assert getattr(found, "n_frames", 1) == 1

    def test_does_not_make_a_small_image_larger(self) -> None:
        assert small(encoded(picture(40, 30), "PNG"), "image/png").size == (40, 30)

    def test_turns_it_upright_and_forgets_where_it_was_taken(self) -> None:
        exif = Image.Exif()
        exif[ORIENTATION], exif[MAKER] = 6, "Secret camera"
        exif.get_ifd(GPS)[2] = (51.0, 30.0, 12.0)
        content = encoded(picture(600, 300), "JPEG", exif=exif, comment=b"at home")
        assert b"Secret camera" in content
        written = images.reencoded(Upload(content, "image/jpeg"))
        found = Image.open(io.BytesIO(written))
        assert found.size == (256, 512)
        assert not found.getexif()
        assert not {"exif", "icc_profile", "xmp", "comment"} & set(found.info)
        assert not [word for word in (b"Secret", b"at home", b"EXIF", b"XMP ", b"ICCP") if word in written]

    def test_leaves_behind_what_was_hidden_after_the_image(self) -> None:
        content = encoded(picture(), "JPEG") + b"PK\x03\x04<script>alert(1)</script>"
        assert b"script" not in images.reencoded(Upload(content, "image/jpeg"))


class TestRefused:
    def test_no_bytes(self) -> None:
        assert refused(b"") == "image_empty"

    def test_too_many_bytes(self, settings: Any) -> None:
        settings.AVATAR_MAX_BYTES = 1024
        assert refused(b"\xff\xd8\xff" + b"x" * 1024) == "image_too_large"

    def test_an_svg_even_when_called_a_png(self) -> None:
        assert refused(SVG, "image/svg+xml") == "image_type_unsupported"
        assert refused(SVG, "image/png") == "not_an_image"

    def test_a_type_that_the_bytes_do_not_have(self) -> None:
        assert refused(encoded(picture(), "PNG"), "image/jpeg") == "image_type_mismatch"
        assert refused(encoded(picture(), "PNG"), "application/octet-stream") == "image_type_unsupported"
        assert refused(encoded(picture(), "BMP"), "image/bmp") == "image_type_unsupported"
        assert refused(b"RIFF\x10\0\0\0WAVEfmt ", "image/webp") == "not_an_image"

    @pytest.mark.parametrize("name", ["me.gif", "me.html", "me.png.php"])
    def test_p10_of_another_type_than_the_name_says(self, name: str) -> None:
        with pytest.raises(ImageRefused) as caught:
            images.reencoded(Upload(encoded(picture(), "PNG"), "image/png", name))
        assert caught.value.code == "image_name_mismatch"

    @pytest.mark.parametrize("declared", ["image/jpeg", "image/png", "image/gif"])
    def test_a_polyglot_with_an_image_s_first_bytes(self, declared: str) -> None:
        magic = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n", "image/gif": b"GIF89a"}[declared]
        assert refused(magic + b"/*<html><script>alert(1)</script>*/", declared) in {"not_an_image", "damaged"}

    def test_a_truncated_file(self) -> None:
        whole = encoded(picture(), "JPEG")
        assert refused(whole[: len(whole) // 2]) == "damaged"
        whole = encoded(Image.effect_noise((300, 300), 80), "PNG")
        assert refused(whole[: len(whole) // 2], "image/png") == "damaged"

    def test_twenty_thousand_by_twenty_thousand_without_decoding_it(self) -> None:
        started = time.monotonic()
        assert refused(png_that_claims(20_000, 20_000), "image/png") == "too_many_pixels"
        assert time.monotonic() - started < 5

    def test_one_pixel_too_many_and_not_one_less(self) -> None:
        assert refused(png_that_claims(4000, 4001), "image/png") == "too_many_pixels"
        assert small(encoded(Image.new("1", (4000, 4000)), "PNG"), "image/png").size == (512, 512)

    def test_what_takes_too_long(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        slow = tmp_path / "slow.py"
        slow.write_text("import time; time.sleep(30)")
        monkeypatch.setattr(images.encoding, "CHILD", slow)
        monkeypatch.setattr(images.encoding, "SECONDS", 0.3)
        assert refused(encoded(picture(), "JPEG")) == "image_too_costly"

    @pytest.mark.parametrize("end", ["import os; os.abort()", "raise SystemExit(3)", "pass", "1 / 0"])
    def test_a_decoder_that_dies_or_talks_nonsense(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str
    ) -> None:
        child = tmp_path / "child.py"
        child.write_text(end)
        monkeypatch.setattr(images.encoding, "CHILD", child)
        assert refused(encoded(picture(), "JPEG")) in {"image_too_costly", "damaged"}


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS bounds no address space")
@pytest.mark.parametrize(
    ("code", "is_allowed"),
    [
        ("bytearray(100 * 2**20)", True),
        ("bytearray(600 * 2**20)", False),
        ("open(name, 'w').write('x' * 10_000)", False),
    ],
)
def test_the_process_has_little_memory_and_writes_no_files(tmp_path: Path, code: str, is_allowed: bool) -> None:
    program = f"import runpy; runpy.run_path({recode.__file__!r})['bound'](); name = {str(tmp_path / 'file')!r}; {code}"
    ended = subprocess.run([sys.executable, "-I", "-B", "-c", program], capture_output=True, check=False)
    assert (ended.returncode == 0) is is_allowed
    assert not (tmp_path / "file").exists() or not (tmp_path / "file").stat().st_size
