"""When to try again, and who is told: pure decisions over a failure's class, its tries and its age."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Urgency(StrEnum):
    """How long a fact may lag while it fails."""

    URGENT = "urgent"
    NORMAL = "normal"


class FailureClass(StrEnum):
    """What a failure means for the next try."""

    TRANSIENT = "transient"
    REFUSED = "refused"
    IDENTITY = "identity"
    MISCONFIGURED = "misconfigured"
    UNKNOWN = "unknown"


# Codes of our own beside SQLSTATEs. P0002 and P0003 are PostgreSQL's no_data_found and too_many_rows.
NO_ROW = "P0002"
SEVERAL_ROWS = "P0003"
NOT_EQUAL = "KW001"  # written without an error, and yet different when read back
QUARANTINED = "KW002"  # took its worker down several times
UNREADABLE = "KW003"  # the source's value cannot be read by the conversion
UNKNOWN_TARGET = "KW004"  # owed to a target that nobody declares

TRANSIENT_CODES = frozenset({"40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53300", "53200", "25P04"})
MISCONFIGURED_CODES = frozenset({"42501", "42P01", "42703", "42883", "3F000", "42804"})
IDENTITY_CODES = frozenset({NO_ROW, SEVERAL_ROWS})
UNKNOWN_TRIES = 5


def classify(code: str) -> FailureClass:
    """Give the class of a SQLSTATE (five characters) or of a code of ours."""
    if code in IDENTITY_CODES:
        return FailureClass.IDENTITY
    if code in TRANSIENT_CODES or code.startswith("08"):
        return FailureClass.TRANSIENT
    if code in MISCONFIGURED_CODES or code == UNKNOWN_TARGET:
        return FailureClass.MISCONFIGURED
    if code.startswith(("22", "23")) or code in {NOT_EQUAL, QUARANTINED, UNREADABLE}:
        return FailureClass.REFUSED
    return FailureClass.UNKNOWN


@dataclass(frozen=True)
class Limits:
    """Bounds of the schedule, in seconds and tries."""

    base_seconds: float
    cap_seconds: float
    urgent_cap_seconds: float
    item_after_attempts: int
    item_after_seconds: float


@dataclass(frozen=True)
class Verdict:
    """What follows from a failed try. `delay_seconds` None: blocked until something or somebody changes."""

    delay_seconds: float | None
    opens_item: bool


def decide(
    *,
    code: str,
    attempts: int,
    owed_seconds: float,
    urgency: Urgency,
    limits: Limits,
    uniform: Callable[[float, float], float],
) -> Verdict:
    """
    Decide what follows the `attempts`-th failure in a row of something owed for `owed_seconds`.

    The delay is full jitter, uniform(0, min(cap, base * 2**(n-1))): Brooker, "Exponential Backoff And Jitter", 2015.
    """
    failure = classify(code)
    if failure in {FailureClass.REFUSED, FailureClass.IDENTITY, FailureClass.MISCONFIGURED}:
        return Verdict(delay_seconds=None, opens_item=True)
    if failure is FailureClass.UNKNOWN and attempts >= UNKNOWN_TRIES:
        return Verdict(delay_seconds=None, opens_item=True)
    cap = limits.urgent_cap_seconds if urgency is Urgency.URGENT else limits.cap_seconds
    bound = min(cap, limits.base_seconds * 2.0 ** min(attempts - 1, 30))
    is_item = attempts >= limits.item_after_attempts or owed_seconds >= limits.item_after_seconds
    return Verdict(delay_seconds=uniform(0.0, bound), opens_item=is_item)
