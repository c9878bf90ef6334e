"""System checks: what keeps avatars is there before somebody uploads one."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import register as register_check
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages


def register() -> None:
    """Add the checks to Django's."""
    register_check(check_store, "therapists")


def check_store(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Refuse a store that cannot be made: it would fail at the first upload."""
    if settings.MEDIA_STORE == "s3" and not settings.MEDIA_BUCKET:
        return [Error("MEDIA_STORE is s3, and MEDIA_BUCKET names no bucket.", id="therapists.E001")]
    try:
        storages["default"]
    except ImproperlyConfigured:
        return [
            Error(
                f"What MEDIA_STORE={settings.MEDIA_STORE} needs is not installed.",
                hint="Install the extra: pip install .[s3]", id="therapists.E002",
            )
        ]  # fmt: skip
    return []
