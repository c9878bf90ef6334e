"""The front page of the staff's desk."""

from sync.admin.holds import Holds

__all__ = ["Holds"]
