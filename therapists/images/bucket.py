"""Avatars in a bucket (`MEDIA_STORE=s3`): bounded in time, and as clear about being away as a disk is about being full."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import ContentFile
from storages.backends.s3 import S3Storage

# The library waits a minute, five times over; a person waits, and a thread of the web with them.
SECONDS, TRIES = 5, 2


class Bucket(S3Storage):
    """Django's storage over S3. Every method raises OSError (EIO) where the bucket does not answer or does not let us."""

    def __init__(self, **options: Any) -> None:
        """Bound each call."""
        bounds = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": TRIES})
        super().__init__(**{"client_config": bounds} | options)

    def _open(self, name: str, mode: str = "rb") -> "ContentFile[bytes]":
        # Whole and at once, it is small: what breaks off while it is sent on could not be told any more.
        with _as_of_a_disk(), super()._open(name, mode) as opened:
            return ContentFile(opened.read(), name)

    def _save(self, name: str, content: Any) -> str:
        with _as_of_a_disk():
            return str(super()._save(name, content))

    def exists(self, name: str) -> bool:
        """Tell whether there is such a file."""
        with _as_of_a_disk():
            return bool(super().exists(name))

    def delete(self, name: str) -> None:
        """Delete it; one that is not there is no trouble."""
        with _as_of_a_disk():
            super().delete(name)

    def listdir(self, name: str) -> tuple[list[str], list[str]]:
        """Give the folders and the files in a folder."""
        with _as_of_a_disk():
            folders, files = super().listdir(name)
            return folders, files

    def get_modified_time(self, name: str) -> datetime:
        """Tell when it was written."""
        with _as_of_a_disk():
            written: datetime = super().get_modified_time(name)
            return written


@contextmanager
def _as_of_a_disk() -> Iterator[None]:
    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        # By kind alone: the library's text names the file's address.
        raise OSError(errno.EIO, f"The bucket cannot be used: {type(error).__name__}.") from error
