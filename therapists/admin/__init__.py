"""The staff's pages about people: users, enrollments, profiles, and the drill."""

from therapists.admin import people, users

__all__ = ["people", "users"]
