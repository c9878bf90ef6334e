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


def is_current(sealed: str) -> bool:
    """Whether it is sealed by the newest key."""
    try:
        _fernets()[0].decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def renewed(sealed: str) -> str | None:
    """Give it as sealed by the newest key, or None where it cannot be opened."""
    try:
        return _keys().rotate(sealed.encode()).decode()
    except InvalidToken:
        return None


def _keys() -> MultiFernet:
    return MultiFernet(_fernets())


def _fernets() -> list[Fernet]:
    words = settings.ENDPOINT_KEYS or [settings.SECRET_KEY]
    return [Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"endpoint {word}".encode()).digest())) for word in words]
