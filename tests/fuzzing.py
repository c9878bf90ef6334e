"""Every operation of the API, asked by everybody for what schemathesis makes up, its answers held against the documents."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from zlib import crc32

import schemathesis
from django.db import connection
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.engine import Status, events, from_schema
from schemathesis.openapi.checks import RejectedPositiveData

from interventions import causes
from interventions.api.keys import REPLAYED
from interventions.models import Cause, Intervention, RetryRun
from interventions.typed import tidy
from tests import appointments, fakes
from tests.factories import Cast
from therapists.api.conditions import PATTERN
from therapists.demo.cast import signed_in
from therapists.images.encoding import SENTENCES
from therapists.models import Booking, Enrollment, User
from therapists.models import Status as Standing

# A request that is of the documented shape may be refused all the same for these: no schema can say them.
BEYOND_A_SCHEMA = {
    "no_cursor": "a cursor is one that we gave",
    "null_characters_not_allowed": "a text holds no zero byte",
    "surrogate_characters_not_allowed": "a text holds no half of a character",
    "empty": "a file holds something",
    "blank": "a text is not of what cannot be seen alone",
    "changed_since": "an entity tag is of the profile as it stands",
    "key_reused": "a key is new, or comes with the same request again",
    "zone": "a time zone is one that is known here",
    "overflow": "a moment is one that UTC has too",
    "out_of_range": "a moment lies ahead, 30 days at most",
    "not_ahead": "a booking begins in the future",
    "too_short_or_long": "a booking ends after it begins",
    **dict.fromkeys(SENTENCES, "a file is a picture of the kinds that are named"),
}
# After these nobody is signed in any more by what they were signed in with.
ENDS_SESSIONS = re.compile(r"/auth/|DELETE .*/me/$")
Headers = Mapping[str, str]


@dataclass
class Found:
    """What a run came across."""

    calls: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    faults: dict[tuple[str, ...], str] = field(default_factory=dict)

    def __str__(self) -> str:
        told = ", ".join(f"{number} x {status}" for status, number in sorted(self.statuses.items()))
        return f"{self.calls} calls of {len(self.operations)} operations: {told}; {len(self.faults)} faults"


def documents() -> Any:
    """Give the documented API without what stands for any answer at all: a status that is not named is a fault."""
    made: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
    found = json.loads(json.dumps(made.get_schema(request=None, public=True), default=str))
    for entry in found["paths"].values():
        for operation in entry.values():
            if isinstance(operation, dict):
                operation["responses"].pop("default")
    return found


@dataclass
class Callers:
    """
    Who asks, and for what is there: the provider of credentials that the run is given.

    People take turns from example to example. Three in four examples name a thing that exists, where what was made up is
    of the right kind: otherwise nearly all of them would meet a 404. Each operation begins with all of that made anew.
    """

    cast: Cast
    people: Sequence[User | None]
    ids: dict[str, object] = field(default_factory=dict)
    sessions: dict[int, Headers] = field(default_factory=dict)
    label: str = ""
    turns: Any = field(default_factory=count)
    broken: list[Exception] = field(default_factory=list)

    def get(self, case: Any, _: Any) -> Headers:
        """Give the headers of whose turn it is; schemathesis calls it before each example."""
        try:
            if case.operation.label != self.label:
                if ENDS_SESSIONS.search(self.label):
                    self.sessions = {}
                self.label, self.turns = case.operation.label, count()
                self.stage()
            person = self.people[next(self.turns) % len(self.people)]
            if person is None:
                return {}
            if person.pk not in self.sessions or ENDS_SESSIONS.search(self.label):
                self.sessions[person.pk] = signed_in(person)
            return self.sessions[person.pk]
        except Exception as error:
            # Tried again it would not be so, which passes for a success over there.
            self.broken.append(error)
            raise
        finally:
            connection.close()  # this thread is schemathesis' own

    def set(self, case: Any, data: Headers, _: Any) -> None:
        """Sign the example in, and let it name what exists."""
        case.headers.update(data)
        # What is no JSON, such as a body that is not there, has another repr in each process.
        made_up = crc32(json.dumps([case.path_parameters, case.body], default=lambda _: "").encode())
        if made_up % 4 == 0:
            return
        kind = case.operation.path.split("/")[3]
        if "id" in (case.path_parameters or {}) and kind in self.ids and not _is_wrong(case, ParameterLocation.PATH):
            case.path_parameters["id"] = self.ids[kind]
        if isinstance(case.body, dict) and not _is_wrong(case, ParameterLocation.BODY):
            if "therapist_id" in case.body:
                case.body |= {"therapist_id": self.cast.ada.pk} | appointments.slot(made_up % 5000)
            if "person_id" in case.body:
                case.body |= {"person_id": self.cast.ben.pk}

    def stage(self) -> None:
        """Make what is asked for anew."""
        ada = self.cast.ada
        with fakes.asleep():
            for model in (Booking, Intervention, Cause, RetryRun):
                model._default_manager.all().delete()
            Enrollment.objects.filter(user=ada).update(
                status=Standing.APPROVED, approved_at=timezone.now(), status_reason=""
            )
            User.objects.filter(pk__in=[one.pk for one in self.people if one]).update(is_active=True)
        item = Intervention.objects.create(
            operation="sync", entity_id=str(ada.pk), person_id=ada.pk, target="therapist_profiles", error="x"
        )
        cause = causes.ensure(fingerprint=item.cause, at=timezone.now())
        assert cause is not None
        run = RetryRun.objects.create(title="x", state="running", asked_by="system", asked_at=item.timestamp)
        client = next((one for one in self.people if one and one.user_type == "client"), self.cast.sam)
        self.ids = {
            "interventions": str(item.pk), "causes": str(cause.pk), "runs": str(run.pk), "directory": ada.pk,
            "enrollments": Enrollment.objects.get(user=ada).pk, "bookings": appointments.requested(client, ada).pk,
        }  # fmt: skip


def _is_wrong(case: Any, where: ParameterLocation) -> bool:
    return case.meta is not None and case.meta.is_negative_at(where)


def is_fault(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Tell a fault from what no schema can say: the codes above, and texts, which are tidied before they are judged."""
    if isinstance(failure, RejectedPositiveData):
        told = response.json()
        codes = {line["code"] for line in told["errors"]} or {told["code"]}
        if case.operation.method.lower() == "delete" and codes == {"required"}:
            return False  # OpenAPI 3.0 has no words for the body of a DELETE
        if codes == {"bad_if_match"} and not re.fullmatch(PATTERN, case.headers["If-Match"]):
            return False  # it fills a header with 0 where it can make up none, and takes that for one of the pattern
        return not codes <= BEYOND_A_SCHEMA.keys()
    if isinstance(failure, AcceptedNegativeData) and REPLAYED.lower() in response.headers:
        return False  # the same body under the same key is the same request: its answer is given again
    if isinstance(failure, AcceptedNegativeData) and re.search("`(maxLength|minLength|pattern)`", failure.message):
        return all(" ".join(tidy(text).split()) == text for text in _texts([case.query, case.body]))
    return True


def _texts(sent: Any) -> Iterator[str]:
    if isinstance(sent, str):
        yield sent
    elif isinstance(sent, Mapping):
        yield from _texts(list(sent.values()))
    elif isinstance(sent, list):
        for inner in sent:
            yield from _texts(inner)


def fuzzed(url: str, callers: Callers, *, examples: int, phases: Sequence[str], seed: int) -> Found:
    """Ask everything at the address so often, the same every time for the same seed, with every check there is."""
    settings = {
        "seed": seed,
        "continue-on-failure": True,
        "generation": {
            "max-examples": examples, "deterministic": True, "database": "none", "no-shrink": True,
            # Who asks is the callers' part.
            "with-security-parameters": False,
        },
        # What is asked must not hang on what was answered, or on how the code reads.
        "analysis": {"constants": {"enabled": False}},
        "phases": {
            name: {"enabled": name in phases} for name in ("examples", "coverage", "fuzzing", "stateful")
        },
    }  # fmt: skip
    for name in ("examples", "coverage", "fuzzing"):
        settings["phases"][name]["extra-data-sources"] = {"responses": False}  # type: ignore[index]
    settings["phases"]["fuzzing"]["error-feedback"] = {"enabled": False}  # type: ignore[index]
    schema = schemathesis.openapi.from_dict(documents(), config=SchemathesisConfig.from_dict(settings))
    schema.config.update(base_url=url)
    # It wants a class, and makes the one provider of it.
    schema.auth(refresh_interval=None)(
        type("Door", (), {"get": staticmethod(callers.get), "set": staticmethod(callers.set)})
    )
    schema.hook("filter_failure")(is_fault)
    found = Found()
    for event in from_schema(schema).execute():
        if isinstance(event, events.FatalError):
            raise event.exception
        if isinstance(event, events.NonFatalError):
            found.faults[event.label, "error"] = str(event.value)
        if isinstance(event, events.ScenarioFinished):
            _note(found, event)
    if callers.broken:
        raise callers.broken[0]
    return found


def _note(found: Found, event: events.ScenarioFinished) -> None:
    for one in event.recorder.interactions.values():
        found.calls += 1
        if one.response is not None:
            found.statuses[one.response.status_code] += 1
    found.operations.update(node.value.operation.label for node in event.recorder.cases.values())
    for name, checks in event.recorder.checks.items():
        for check in checks:
            if check.status == Status.FAILURE and check.failure_info is not None:
                failure, answer = check.failure_info.failure, event.recorder.interactions[name].response
                label = event.recorder.cases[name].value.operation.label
                told = (
                    f"{failure.message}\n{check.failure_info.code_sample}\n{answer.content[:500]!r}" if answer else ""
                )
                found.faults.setdefault((label, check.name, failure.title), told)
