"""What is known about a therapist in three tables, what clients book with them, and how people sign in."""

from therapists.models.access import OpenSession, SignInNote
from therapists.models.bookings import Booking, BookingState, CreditEntry, EntryKind
from therapists.models.people import (
    LONGEST_CAREER_YEARS,
    DecidedRow,
    EmailAlias,
    Enrollment,
    Normalize,
    Profile,
    Status,
    User,
    UserManager,
    UserType,
    normal_form,
)

__all__ = [
    "LONGEST_CAREER_YEARS",
    "Booking",
    "BookingState",
    "CreditEntry",
    "DecidedRow",
    "EmailAlias",
    "Enrollment",
    "EntryKind",
    "Normalize",
    "OpenSession",
    "Profile",
    "SignInNote",
    "Status",
    "User",
    "UserManager",
    "UserType",
    "normal_form",
]
