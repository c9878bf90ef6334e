"""Check an upload and have it re-encoded by a bounded process of its own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from django.conf import settings

from therapists.images import recode

SECONDS = 10
CHILD = Path(recode.__file__)
# Declared type to the bytes that such a file begins with; WebP has its size between the two words.
MAGIC = {
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
# A name without an ending says nothing: browsers send `blob` for a picture that a page made.
ENDINGS = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".jpe": "image/jpeg", ".jfif": "image/jpeg", ".png": "image/png",
    ".gif": "image/gif", ".webp": "image/webp",
}  # fmt: skip
SAME_AS = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg"}
SENTENCES = {
    "image_empty": "The file is empty.",
    "image_too_large": "The file is larger than {megabytes:.0f} MB. Choose a smaller one.",
    "image_type_unsupported": "Only JPEG, PNG, WebP and GIF images can be used.",
    "image_type_mismatch": "The file is not of the type that it was sent as. Save it as JPEG or PNG and try again.",
    "image_name_mismatch": "The ending of the file's name is not the one of its type. Save it as JPEG or PNG and try again.",
    "not_an_image": "The file is not an image that can be read.",
    "damaged": "The image is damaged or incomplete. Save it again and try once more.",
    "too_many_pixels": "The image has too many pixels; at most 16 megapixels can be used. Make it smaller.",
    "image_too_costly": "The image takes too long to read. Save it as a plain JPEG and try again.",
}


class ImageRefused(Exception):
    """The upload cannot become an avatar, and never will: `code` says why, the message what to do."""

    def __init__(self, code: str) -> None:
        super().__init__(SENTENCES[code].format(megabytes=settings.AVATAR_MAX_BYTES / 2**20))
        self.code = code


@dataclass(frozen=True)
class Upload:
    """A file as it came: its bytes, the type that the sender declared, and its name, which is never used as one."""

    content: bytes
    declared_type: str
    name: str = ""


def reencoded(upload: Upload) -> bytes:
    """
    Give the upload as a small WebP without metadata; raises ImageRefused.

    Takes at most SECONDS, fewer of the processor's, and half a gigabyte, in a process that is gone afterwards whatever the file did to it.
    """
    _check(upload)
    try:
        child = subprocess.run(
            # -I: neither the environment nor the working directory decides what the child imports.
            [sys.executable, "-I", "-B", str(CHILD)],
            input=upload.content, capture_output=True, timeout=SECONDS, check=False, env={},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ImageRefused("image_too_costly") from error
    if child.returncode == recode.REFUSED:
        code = child.stdout.decode("ascii", "replace")
        raise ImageRefused(code if code in SENTENCES else "damaged")
    if child.returncode or not child.stdout:
        raise ImageRefused("image_too_costly" if child.returncode < 0 else "damaged")
    return child.stdout


def _check(upload: Upload) -> None:
    """Refuse by size, declared type, first bytes and name, which must agree, before anything is decoded."""
    if not upload.content:
        raise ImageRefused("image_empty")
    if len(upload.content) > settings.AVATAR_MAX_BYTES:
        raise ImageRefused("image_too_large")
    given = upload.declared_type.partition(";")[0].strip().lower()
    declared = SAME_AS.get(given, given)
    if declared not in MAGIC:
        raise ImageRefused("image_type_unsupported")
    if not upload.content.startswith(MAGIC[declared]):
        raise ImageRefused("image_type_mismatch" if _is_any(upload.content) else "not_an_image")
    if declared == "image/webp" and upload.content[8:12] != b"WEBP":
        raise ImageRefused("not_an_image")
    ending = PurePosixPath(upload.name.replace("\\", "/")).suffix.lower()
    if ending and ENDINGS.get(ending) != declared:
        raise ImageRefused("image_name_mismatch")


def _is_any(content: bytes) -> bool:
    return any(content.startswith(words) for words in MAGIC.values())
