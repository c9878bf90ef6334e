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
    THROTTLED = "throttled"
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
NO_CREDENTIALS = "KW011"
TOO_LATE = "KW021"  # a service did not answer in the time allowed
NO_ANSWER = "KW022"  # it could not be reached, or cut the connection
BAD_ANSWER = "KW023"  # its answer cannot be read
FORBIDDEN_ADDRESS = "KW024"  # its address is none that may be called
REFUSED_BY_MAIL = "KW025"  # the mail server does not take this letter

TRANSIENT_CODES = frozenset(
    {"40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53300", "53200", "25P04", "408", "425", "429"}
)
MISCONFIGURED_CODES = frozenset({"42501", "42P01", "42703", "42883", "3F000", "42804", NO_CREDENTIALS, UNKNOWN_TARGET})
IDENTITY_CODES = frozenset({NO_ROW, SEVERAL_ROWS})
REFUSED_CODES = frozenset({NOT_EQUAL, QUARANTINED, UNREADABLE, REFUSED_BY_MAIL})
# Of calls to services.
LATER_CODES, MISPLACED_CODES = frozenset({TOO_LATE, NO_ANSWER}), frozenset({FORBIDDEN_ADDRESS})
# What says nothing of a person: the target is set up wrongly.
SET_UP_CODES = MISCONFIGURED_CODES | MISPLACED_CODES
# HTTP statuses that mean "not now" when they come with a Retry-After.
THROTTLED_CODES = frozenset({"429", "503"})
BLOCKING = frozenset({FailureClass.REFUSED, FailureClass.IDENTITY, FailureClass.MISCONFIGURED})
UNKNOWN_TRIES = 5


def classify(code: str, *, retry_after: float | None = None) -> FailureClass:
    """Give the class of a SQLSTATE (five characters), an HTTP status (three digits) or a code of ours."""
    if code in THROTTLED_CODES and retry_after is not None:
        return FailureClass.THROTTLED
    if code in IDENTITY_CODES:
        return FailureClass.IDENTITY
    if code in TRANSIENT_CODES | LATER_CODES or code.startswith("08") or _is_status(code, "5"):
        return FailureClass.TRANSIENT
    if code in SET_UP_CODES:
        return FailureClass.MISCONFIGURED
    if code in REFUSED_CODES or code.startswith(("22", "23")) or _is_status(code, "4"):
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
    """
    What follows from a failed try. `delay_seconds` None: blocked until something or somebody changes.

    `counts` False: the target said when to come back, which is no failed attempt; its whole lane waits that long.
    """

    delay_seconds: float | None
    opens_item: bool
    counts: bool = True


def decide(
    *,
    code: str,
    attempts: int,
    owed_seconds: float,
    urgency: Urgency,
    limits: Limits,
    uniform: Callable[[float, float], float],
    retry_after: float | None = None,
) -> Verdict:
    """
    Decide what follows the `attempts`-th failure in a row of something owed for `owed_seconds`.

    The delay is full jitter, uniform(0, min(cap, base * 2**(n-1))): Brooker, "Exponential Backoff And Jitter", 2015.
    `retry_after` is what a throttling target asked for, in seconds; it is obeyed, not jittered.
    """
    failure = classify(code, retry_after=retry_after)
    is_old = owed_seconds >= limits.item_after_seconds
    if failure is FailureClass.THROTTLED and retry_after is not None:
        return Verdict(delay_seconds=max(0.0, retry_after), opens_item=is_old, counts=False)
    if failure in BLOCKING or (failure is FailureClass.UNKNOWN and attempts >= UNKNOWN_TRIES):
        return Verdict(delay_seconds=None, opens_item=True)
    cap = limits.urgent_cap_seconds if urgency is Urgency.URGENT else limits.cap_seconds
    bound = min(cap, limits.base_seconds * 2.0 ** min(attempts - 1, 30))
    is_item = attempts >= limits.item_after_attempts or is_old
    return Verdict(delay_seconds=uniform(0.0, bound), opens_item=is_item)


def _is_status(code: str, first: str) -> bool:
    return len(code) == 3 and code.isdecimal() and code.startswith(first)
