"""Answers of services, kept for whoever asked: shown with their age when the service does not answer, and never as data."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Min, QuerySet
from django.utils.crypto import salted_hmac

from sync.models import KeptAnswer

# A longer answer is not kept.
MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Kind:
    """What is kept of one kind: for how long it may be shown, and how many, of everybody and of one person."""

    name: str
    lifetime: dt.timedelta
    most: int = 10_000
    most_of_one: int = 20


@dataclass(frozen=True)
class Question:
    """
    What was asked, of whom and by whom. `words` is the whole input; only a digest of it is ever stored.

    Another person's question is another question, in whatever words; and so is the same one to another model or of
    another version of what is asked.
    """

    kind: Kind
    person_id: int | None
    words: Mapping[str, Any]
    model: str = ""
    version: int = 1

    @property
    def digest(self) -> str:
        """The key: nobody can tell from it what was asked, also not by trying likely questions."""
        whole = json.dumps([self.kind.name, self.person_id, self.model, self.version, self.words], sort_keys=True)
        return salted_hmac("sync.kept", whole, algorithm="sha256").hexdigest()


@dataclass(frozen=True)
class Found:
    """An answer of before."""

    value: Any
    made_at: dt.datetime


_kinds: dict[str, Kind] = {}


def declare(kind: Kind) -> Kind:
    """Let answers of this kind be kept."""
    _kinds[kind.name] = kind
    return kind


def kinds() -> dict[str, Kind]:
    """Give the kinds of which answers are kept, by name."""
    return dict(sorted(_kinds.items()))


def put(question: Question, value: Any, *, at: dt.datetime) -> bool:
    """Keep an answer in place of the last one to this question; gives whether it was, for what is too long is not."""
    if len(json.dumps(value).encode()) > MOST_BYTES:
        return False
    kind = question.kind
    KeptAnswer.objects.bulk_create(
        [KeptAnswer(
            kind=kind.name, person_id=question.person_id, digest=question.digest, value=value, made_at=at,
            expires_at=at + kind.lifetime,
        )],
        update_conflicts=True, unique_fields=["digest"], update_fields=["value", "made_at", "expires_at"],
    )  # fmt: skip
    _keep_to("kind = %s", [kind.name], kind.most)
    if question.person_id is not None:
        _keep_to("person_id = %s AND kind = %s", [question.person_id, kind.name], kind.most_of_one)
    return True


def find(question: Question, *, at: dt.datetime) -> Found | None:
    """Give what was answered to this very question, unless that is too old."""
    row = KeptAnswer.objects.filter(digest=question.digest, expires_at__gt=at).first()
    return None if row is None else Found(row.value, row.made_at)


def delete(question: Question) -> bool:
    """Forget the answer to one question; gives whether there was one."""
    return bool(KeptAnswer.objects.filter(digest=question.digest).delete()[0])


def clear(*, kind: str = "", person_id: int | None = None) -> int:
    """Forget every answer, or those of a kind or of a person; gives how many."""
    return among(kind=kind, person_id=person_id).delete()[0]


def among(*, kind: str = "", person_id: int | None = None) -> QuerySet[KeptAnswer]:
    """Give the kept answers, of a kind or of a person where they are named; unordered."""
    given: dict[str, Any] = {"kind": kind} if kind else {}
    return KeptAnswer.objects.filter(**given | ({"person_id": person_id} if person_id is not None else {}))


def statistics() -> list[dict[str, Any]]:
    """Give for each kind how many answers are kept, of how many at most, the oldest and the newest; none is a line too."""
    rows = KeptAnswer.objects.values("kind").annotate(size=Count("pk"), oldest=Min("made_at"), newest=Max("made_at"))
    found = {row["kind"]: row for row in rows}
    empty = {"size": 0, "oldest": None, "newest": None}
    return [
        {"kind": name, **empty, **found.get(name, {}), "most": kind.most, "lifetime_seconds": kind.lifetime.total_seconds()}
        for name, kind in kinds().items()
    ]  # fmt: skip


def prune(*, at: dt.datetime) -> None:
    """Delete what is too old to be shown, and what nobody declares any more."""
    KeptAnswer.objects.filter(expires_at__lte=at).delete()
    KeptAnswer.objects.exclude(kind__in=_kinds).delete()


def _keep_to(where: str, words: list[Any], most: int) -> None:
    # Two who keep answers at the same time each pass over what the other is deleting.
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM sync_kept_answer WHERE id IN (SELECT id FROM sync_kept_answer WHERE id = ANY(ARRAY("
            f"SELECT id FROM sync_kept_answer WHERE {where} ORDER BY made_at DESC, id DESC OFFSET %s))"
            " FOR UPDATE SKIP LOCKED)",
            [*words, most],
        )
