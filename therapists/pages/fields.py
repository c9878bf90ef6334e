"""The lines of the profile's form: what is stored, what was typed, and whether that is another thing."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from therapists.models import LONGEST_CAREER_YEARS


@dataclass(frozen=True)
class Line:
    """
    One fact in the form.

    `mark` is a digest of what was stored when the form was made: only what differs from it is sent on, so that whoever
    edits one thing overwrites nobody's other edit. `theirs`: what is stored now, where somebody changed it meanwhile.
    """

    name: str
    label: str
    kind: str = "text"
    hint: str = ""
    autocomplete: str = ""
    most: int = 0
    value: str = ""
    mark: str = ""
    error: str = ""
    theirs: str | None = None

    @property
    def is_changed(self) -> bool:
        """Whether another thing was typed than was stored when the form was made."""
        return self.mark != marked(self.value)

    @property
    def told_by(self) -> str:
        """Give the ids of what describes the field, for those who hear the page."""
        told = [("hint", self.hint), ("error", self.error), ("theirs", self.theirs is not None)]
        return " ".join(f"{self.name}-{word}" for word, is_there in told if is_there)


LINES = (
    Line("full_name", "Name", autocomplete="name", most=200),
    Line("bio", "About you", "textarea", "What people read first. A few plain sentences work best.", most=10_000),
    Line("specialization", "Specialization", "text", "Names with commas between, as in: CBT, EMDR.", most=2_000),
    Line("experience_years", "Years of experience", "number", most=LONGEST_CAREER_YEARS),
    Line("phone", "Telephone", "tel", autocomplete="tel", most=50),
    Line(
        "email", "E-mail", "email", "You sign in with it. A new address gets a code at your next sign-in.", "email", 320
    ),
)
# An address and a name cannot be taken away; every other fact that is emptied is no longer known.
NEEDED = frozenset({"full_name", "email"})


def stored(profile: Mapping[str, object]) -> list[Line]:
    """Give the form of a profile as it is stored."""
    texts = {line.name: "" if profile[line.name] is None else str(profile[line.name]) for line in LINES}
    return [replace(line, value=texts[line.name], mark=marked(texts[line.name])) for line in LINES]


def sent(form: Mapping[str, str]) -> list[Line]:
    """Give the form as it came; a fact that is not in it counts as unchanged."""
    return [
        replace(line, value=form.get(line.name, ""), mark=form.get(f"was_{line.name}", "") if line.name in form else marked(""))
        for line in LINES
    ]  # fmt: skip


def meant(line: Line) -> object:
    """Give what a person means who typed this."""
    if not line.value.strip() and line.name not in NEEDED:
        return None
    return line.value


def marked(text: str) -> str:
    """Tell a text from another one. Browsers write line ends in their own way."""
    return hashlib.sha256("\n".join(text.strip().splitlines()).encode("utf-8", "surrogatepass")).hexdigest()[:24]
