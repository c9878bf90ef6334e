"""The three tables that repeat what is known about a therapist, and what clients book with them."""

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
    "Profile",
    "Status",
    "User",
    "UserManager",
    "UserType",
    "normal_form",
]
