"""What a code means to staff: a sentence, and what they can do."""

from dataclasses import dataclass

from interventions import fingerprint


@dataclass(frozen=True)
class Reason:
    """`fact` completes "… because"; `advice` says what a person can do."""

    fact: str
    advice: str


LOCKED = Reason(
    "its row or table is locked by somebody else",
    "Nothing, most often: it is tried again by itself. If it stays so, find the session that holds the lock and end it.",
)
COLUMN = Reason(
    "a column that is written is not there, or has another type",
    "Somebody changed the table. Bring the column back or change the declaration; it is tried again as soon as the "
    "table changes.",
)
CREDENTIALS = Reason(
    "the service does not accept our credentials, or we have none",
    "Put the secret right in the settings or on the directory's page; it is tried again as soon as it changes.",
)
FAILING = Reason(
    "the service has trouble of its own",
    "It is tried again by itself, and left alone while it stays so. Ask whoever runs it.",
)
REPORTED = Reason("somebody reported it", "Read what was reported, put it right, and mark it resolved with a note.")
REASONS = {
    "23514": Reason(
        "the place refuses the value by a CHECK constraint",
        "Correct the value at its source, or change the constraint; it is tried again when either changes.",
    ),
    "23502": Reason("the place does not accept an empty value", "Fill the fact in at its source."),
    "23505": Reason(
        "another row has the same value already, and it must be unique",
        "Find out which of the two rows is right, and correct the other.",
    ),
    "23503": Reason("it refers to a row that is not there", "Bring the row back that it refers to."),
    "22001": Reason("the value is too long for the column", "Shorten it at its source, or widen the column."),
    "55P03": LOCKED,
    "40001": LOCKED,
    "40P01": LOCKED,
    "57014": Reason(
        "writing took too long", "It is tried again by itself. If it stays so, look at triggers and load of the table."
    ),
    "42703": COLUMN,
    "42804": COLUMN,
    "42P01": Reason("the table is not there", "Bring the table back; it is tried again as soon as it is there."),
    "42501": Reason("Keepwell's database role may not write there", "Grant the role the right, then retry."),
    "P0002": Reason(
        "the person has no row there, and should have",
        "Create the row (deciding on the enrollment again does), then it fills itself.",
    ),
    "P0003": Reason("the person has several rows there", "Decide which row is theirs, and give the other away."),
    "KW001": Reason(
        "the value was written, and yet was another when it was read back",
        "Look for a trigger on the table that changes what is written.",
    ),
    "KW002": Reason(
        "several workers died while they wrote it, and so it is left alone",
        "Look at the workers' and the server's logs of that time. Put the cause right, then retry.",
    ),
    "KW004": Reason(
        "it is owed to a place that this release does not know",
        "Finish or undo the release: the place was renamed, or is declared no more. Then retry, or resolve with a note.",
    ),
    "KW003": Reason(
        "what the source says cannot be read as a list of names",
        "Write it at its source as names with commas between, such as: CBT, DBT. A name that holds a comma stands in "
        'quotation marks: "Couples, families". Until then the copy keeps what it says; it is tried again when the '
        "source changes.",
    ),
    "KW011": CREDENTIALS,
    "404": Reason("the service knows nothing under its address", "Correct the address in the settings, then retry."),
    "429": Reason(
        "the service asks for fewer calls", "Nothing, most often: it is left alone for as long as it asks for."
    ),
    "500": FAILING,
    "502": FAILING,
    "503": FAILING,
    "504": FAILING,
    "KW021": Reason(
        "the service did not answer in time",
        "It is tried again by itself, and left alone while it stays so. Ask whoever runs it.",
    ),
    "KW022": Reason(
        "the service could not be reached, or cut the connection",
        "It is tried again by itself, and left alone while it stays so. Look whether it runs, and whether we reach it.",
    ),
    "KW023": Reason("the service's answer cannot be read", "Ask whoever runs it what it says, then retry."),
    "KW024": Reason(
        "the service's address may not be called: it is private, cannot be read, or sends elsewhere",
        "Give the address where it really is; it is tried again as soon as another is configured.",
    ),
    "KW025": Reason(
        "the mail server does not take the letter", "Look whether the person's address is right, then retry."
    ),
    "08000": Reason("the database did not answer", "It is tried again by itself."),
    "no_room": Reason(
        "failures could not be written down anywhere but in the logs",
        "Look for interventions.log.lost in the logs of all processes, see to each, then mark this resolved with a note.",
    ),
    "reported": REPORTED,
    "": REPORTED,
    "duplicate_identity": Reason(
        "two enrollments claim one address",
        "Look at both side by side, then merge them, keep one, or say that they are two people.",
    ),
    "approved_without_user": Reason(
        "an approved therapist has no user",
        "Ask them to sign up with the address of their enrollment: it links itself then. Or decide otherwise.",
    ),
    "profile_without_user": Reason(
        "there are profiles without a user",
        "They are quarantined: kept as they are, shown to nobody, never deleted by a machine. Delete those that nobody "
        "needs, or give them their user back.",
    ),
    "mass_deletion": Reason(
        "more rows were deleted at once than anybody deletes by hand",
        "Find out whether it was meant. Let the deletions take effect, or reject them and bring the rows back.",
    ),
}
UNKNOWN = Reason("of an error nobody has described yet", "Look the code up, put the cause right, then retry.")


def reason(code: str) -> Reason:
    """Give the sentence for a SQLSTATE or a code of the engine."""
    return REASONS.get(code, UNKNOWN)


def line(target: str, code: str, detail: str) -> str:
    """Say the reason alone, short enough for a list."""
    fact = reason(code).fact
    return fact[0].upper() + fact[1:] + (f" ({detail})" if detail and detail != target else "") + "."


def headline(target: str, code: str, detail: str) -> str:
    """Say in one line what could not be done and why; `detail` is a constraint, column or table."""
    named = f" ({detail})" if detail and detail != target else ""
    if not target:
        return "Reported for a person to look at."
    return f"{target} could not be brought in line because {reason(code).fact}{named}."


def detail_of(cause: str) -> str:
    """Give the object that a cause names last."""
    said = fingerprint.parts(cause)
    return said.detail if said else ""


def of_cause(cause: str) -> str:
    """Give the sentence of a cause's code; empty for what is no cause."""
    said = fingerprint.parts(cause)
    return reason(said.code).fact if said else ""
