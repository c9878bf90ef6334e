"""What items of one reason share: names and codes, never the person, and the version of the rule that made it."""

from dataclasses import dataclass

# Another rule is another version: what it makes never meets by chance what stands there already.
VERSION = "v1"


@dataclass(frozen=True)
class Parts:
    """What a fingerprint says. `kind` is the failure's class, `detail` a table, a column, a constraint or an operation."""

    target: str
    operation: str
    kind: str
    code: str
    detail: str


def of(*, target: str, operation: str, kind: str, code: str, detail: str) -> str:
    """Give the fingerprint of a failure; its parts can be read back, so all but the last lose their colons."""
    words = [word.replace(":", ".") for word in (target, operation, kind, code)]
    return ":".join([VERSION, *words, detail])


def parts(fingerprint: str) -> Parts | None:
    """Read a fingerprint; None for what is none, as where a program wrote the founding columns alone."""
    version, *words = fingerprint.split(":", 5)
    return Parts(*words) if version == VERSION and len(words) == 5 else None
