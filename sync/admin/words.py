"""How a target or an operation is, in a word and a sentence, and what can be pressed."""

import datetime as dt
from dataclasses import dataclass, replace

from interventions.admin import reasons, sentences
from sync.admin.readings import OperationLine, TargetLine
from sync.pauses import Scope
from sync.stops import Pause
from sync.targets import SPOKEN

GOOD, LATE, BAD, PLAIN = "kw-resolved", "kw-reopened", "kw-open", "kw-plain"


@dataclass(frozen=True)
class Switch:
    """A target or an operation. `note` tells why it is as it is, `since` from when on, `said` what somebody wrote."""

    scope: Scope
    key: str
    title: str
    word: str
    look: str
    note: str = ""
    since: dt.datetime | None = None
    said: str = ""
    next_try_at: dt.datetime | None = None
    is_paused: bool = False
    may_reset: bool = False
    # What is owed there, where it is a target.
    line: TargetLine | None = None


def target_switch(line: TargetLine) -> Switch:
    """Say how a target is; what staff switched off comes before what its breaker says."""
    if line.pause is not None:
        return replace(_paused(Scope.TARGET, line.target, line.target, line.pause), line=line)
    why = f"because {reasons.reason(line.code).fact}"
    look, begins = {
        "working": (GOOD, ""),
        "recovering": (LATE, "what waited follows, slowly at first"),
        "throttled": (LATE, "it said when to come back"),
        "misconfigured": (BAD, why),
        "parked": (BAD, why),
    }[line.word]
    return Switch(
        Scope.TARGET, line.target, line.target, SPOKEN[line.word], look, begins, line.since,
        next_try_at=line.next_try_at, may_reset=line.word not in {"working", "misconfigured"}, line=line,
    )  # fmt: skip


def operation_switch(line: OperationLine) -> Switch:
    """Say whether an operation is on."""
    if line.pause is not None:
        return _paused(Scope.OPERATION, line.key, line.title, line.pause)
    return Switch(Scope.OPERATION, line.key, line.title, "on", GOOD)


def _paused(scope: Scope, key: str, title: str, pause: Pause) -> Switch:
    note = f"by {sentences.who([pause.by])[pause.by]}"
    return Switch(scope, key, title, "switched off", LATE, note, pause.at, pause.note, is_paused=True)
