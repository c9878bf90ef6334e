"""Secrets that staff enter, encrypted before they reach the database."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


def seal(word: str) -> str:
    """Encrypt with the newest key."""
    return _keys().encrypt(word.encode()).decode()


def opened(sealed: str) -> str | None:
    """Decrypt with whichever key it was sealed with; None: that key is not here."""
    try:
        return _keys().decrypt(sealed.encode()).decode()
    except InvalidToken:
        return None


def renewed(sealed: str) -> str | None:
    """Give it as sealed by the newest key, or None where it cannot be opened."""
    try:
        return _keys().rotate(sealed.encode()).decode()
    except InvalidToken:
        return None


def _keys() -> MultiFernet:
    words = settings.ENDPOINT_KEYS or [settings.SECRET_KEY]
    return MultiFernet(
        [Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"endpoint {word}".encode()).digest())) for word in words]
    )
