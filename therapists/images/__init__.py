"""Avatars: what is accepted, how it is made small and harmless, where it is kept and when it may go."""

from therapists.images.encoding import ImageRefused, Upload, reencoded
from therapists.images.files import (
    FOLDER,
    KEPT_AT_LEAST,
    NAME,
    REMEMBERED,
    delete_unused,
    named_by,
    remove_unused_avatars,
    store,
    unused_avatars,
)

__all__ = [
    "FOLDER", "KEPT_AT_LEAST", "NAME", "REMEMBERED", "ImageRefused", "Upload", "delete_unused", "named_by", "reencoded", "remove_unused_avatars", "store",
    "unused_avatars",
]  # fmt: skip
