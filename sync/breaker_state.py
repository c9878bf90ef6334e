"""The breakers' state in PostgreSQL, shared by all processes, and the rows that are parked by them or by staff."""

import datetime as dt
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from random import uniform

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from interventions import items
from interventions.failpoints import reach
from interventions.models import History, Resolution
from interventions.sqlstates import sqlstate
from sync import breaker, parking, pauses, targets
from sync.backoff import classify
from sync.breaker import Call, Limits, State, Word
from sync.mirrors import declaration
from sync.pauses import Pauses
from sync.stops import Breaker

logger = logging.getLogger(__name__)

Entity = tuple[int, str]  # person id, target
# Of the wait for a service's next probe, which is a random part of the longest one.
PROBE_LEAST_SHARE = 0.7
_UNWELL = "word <> 'closed' OR failures > 0 OR recent <> '[]' OR throttled_until > %s"


@dataclass(frozen=True)
class Admission:
    """What may be attempted at a moment: the breakers that are not well, and what staff have paused."""

    at: dt.datetime
    states: Mapping[str, State] = field(default_factory=dict)
    pauses: Pauses = field(default_factory=Pauses)

    @property
    def is_free(self) -> bool:
        """Whether everything may be attempted."""
        return not (self.states or self.pauses.people or self.pauses.targets or self.pauses.operations)

    def admits(self, entity: Entity) -> bool:
        """Whether the entity may be attempted."""
        person_id, target = entity
        state = self.states.get(target)
        return not self.pauses.stops(person_id, target) and (state is None or breaker.admits(state, person_id, self.at))


def limits(target: str | None = None) -> Limits:
    """
    Give a target's thresholds from the settings.

    A service's probe is one call, however many are owed: it is asked again soon, and never at the same beat as others,
    so that one that came back is found within half a minute.
    """
    longest, share = settings.SYNC_BREAKER_PROBE_CAP_SECONDS, 1.0
    if target is not None and target not in declaration().targets:
        longest = min(longest, settings.SYNC_SERVICE_PROBE_SECONDS)
        share = uniform(PROBE_LEAST_SHARE, 1.0)  # noqa: S311 - no secret
    return Limits(
        failures=settings.SYNC_BREAKER_FAILURES,
        window_seconds=settings.SYNC_BREAKER_WINDOW_SECONDS,
        window_calls=settings.SYNC_BREAKER_WINDOW_CALLS,
        window_share=settings.SYNC_BREAKER_WINDOW_PERCENT / 100,
        probe_seconds=min(settings.SYNC_BREAKER_PROBE_SECONDS, longest),
        probe_cap_seconds=longest,
        probe_share=share,
        ramp_per_second=settings.SYNC_BREAKER_RAMP_PER_SECOND,
        ramp_doubles_seconds=settings.SYNC_BREAKER_RAMP_DOUBLES_SECONDS,
        ramp_seconds=settings.SYNC_BREAKER_RAMP_SECONDS,
    )


def admission(people: Collection[int], at: dt.datetime) -> Admission:
    """Read what may be attempted for these people: one glance at two small tables while all is well; waits for nobody."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT EXISTS (SELECT FROM sync_pause) OR EXISTS (SELECT FROM sync_breaker WHERE {_UNWELL})", [at]
        )
        if not cursor.fetchone()[0]:
            return Admission(at)
    return Admission(at, states(), pauses.among(people))


def record(
    entities: Collection[Entity], problems: Mapping[Entity, tuple[str, str]], given: Admission
) -> frozenset[Entity]:
    """
    Note what one batch found out about each target, in its transaction.

    Takes every entity that was tried, and the code and object of each that failed. Gives the failures for which an
    open target's own item stands, so that no person's is needed.

    Writes nothing while all is well, and never waits: where another batch is noting something of the same target at
    this moment, that is enough.
    """
    if not problems and not given.states:
        return frozenset()
    stood_for: set[Entity] = set()
    for target in declaration().targets:
        call = _call(target, entities, problems)
        state = given.states.get(target, State())
        if breaker.note(state, call, given.at, limits(target)) != state:
            state = _noted(target, call, given.at) or state
        if state.word is Word.OPEN:
            stood_for |= {(person_id, target) for person_id in call.failed}
    return frozenset(stood_for)


def note(target: str, call: Call, at: dt.datetime) -> State:
    """
    Note what a call to a service found out, in the caller's transaction; gives the target's state then.

    Writes nothing while all is well, and never waits, but for what a probe found out.
    """
    state = states().get(target, State())
    if breaker.note(state, call, at, limits(target)) == state:
        return state
    return _noted(target, call, at) or state


def pull_forward(at: dt.datetime) -> int:
    """
    Pull parked rows forward as far as breakers, ramps and pauses allow; gives their number.

    Short transactions of their own. Of an open breaker whose probe is due it is one row, and only one process gets it.
    """
    stopped = pauses.among(())
    if pauses.SYNC in stopped.operations:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT target FROM unnest(%s::text[]) AS target"
            " WHERE EXISTS (SELECT FROM sync_ledger AS l WHERE l.is_paused AND l.target = target.target)"
            " OR EXISTS (SELECT FROM sync_breaker AS b WHERE b.target = target.target AND word = 'open' AND probe_at <= %s)",
            [targets.names(), at],
        )
        found = [target for (target,) in cursor.fetchall()]
    return sum(_pull(target, at) for target in found if target not in stopped.targets)


def reset(target: str, at: dt.datetime) -> State:
    """Forget what is known of a target, or probe it at once where its breaker is open; gives what was known."""
    return _change(target, lambda state: breaker.reset(state, at, limits(target)))


def begin_ramp(target: str, at: dt.datetime) -> None:
    """Let what is parked come over a ramp, unless the breaker is open."""
    _change(target, lambda state: state if state.word is Word.OPEN else breaker.closed(at))


def word(state: State, at: dt.datetime, *, is_misconfigured: bool, has_parked: Callable[[], bool]) -> str:
    """
    Say in a word how a target is: parked, throttled, misconfigured, recovering or working.

    It is recovering while something still waits there, and no longer: only then is `has_parked` asked.
    """
    if state.word is Word.OPEN:
        return "parked"
    if breaker.is_shut(state, at):
        return "throttled"
    if is_misconfigured:
        return "misconfigured"
    return "recovering" if breaker.pull(state, at, limits()) is not None and has_parked() else "working"


def states() -> dict[str, State]:
    """Give every breaker's state that is on record."""
    return {row.target: _state(row) for row in Breaker.objects.all()}


def _change(target: str, to: Callable[[State], State]) -> State:
    with transaction.atomic():
        Breaker.objects.bulk_create([Breaker(target=target)], ignore_conflicts=True)
        before = _state(Breaker.objects.select_for_update(no_key=True).get(pk=target))
        _save(target, to(before))
        reach("sync.breaker.change.before_commit")
    return before


def _pull(target: str, at: dt.datetime) -> int:
    with transaction.atomic():
        freed = _freed(target, at)
        reach("sync.breaker.pull.before_commit", freed)
    reach("sync.breaker.pull.after_commit", freed)
    return len(freed)


def _freed(target: str, at: dt.datetime) -> list[int]:
    """Pull a target's rows forward as its breaker allows, and note it there; gives their persons."""
    state = _locked(target)
    rows = None if state is None else breaker.pull(state, at, limits(target))
    if state is None or rows == 0:
        return []
    reach("sync.breaker.after_lock")
    freed = parking.pull(target, at, rows)
    if state.word is Word.OPEN:
        freed = freed or parking.pull_backing_off(target, at)
        if not freed:
            if not parking.is_owed(target):
                _turn(target, state, breaker.closed(at), at)
            return []
    after = breaker.pulled(state, at, len(freed), probe=freed[0] if freed else None)
    if after != state:
        _save(target, after)
    return freed


def _call(target: str, entities: Collection[Entity], problems: Mapping[Entity, tuple[str, str]]) -> Call:
    """Sum up what a batch says of a target. Trouble of a single row or of another table says nothing."""
    others = {table.name for table in declaration().tables} - {target}
    answered, failed, last = set(), set(), ("", "")
    for person_id in (person_id for person_id, name in entities if name == target):
        if (person_id, target) not in problems:
            answered.add(person_id)
            continue
        code, error_object = problems[person_id, target]
        is_about_target = bool(error_object) and error_object not in others
        says = breaker.speaks(classify(code), is_about_target=is_about_target)
        if says:
            failed.add(person_id)
            last = (code, error_object)
        elif says is False:
            answered.add(person_id)
    return Call(frozenset(answered), frozenset(failed), None, *last)


def _noted(target: str, call: Call, at: dt.datetime) -> State | None:
    try:
        with transaction.atomic():
            return _note(target, call, at)
    except DatabaseError as error:
        # Never at the price of the batch: what it found out is found out again.
        logger.warning("sync.breaker.unnoted", extra={"target": target, "code": sqlstate(error)})
        return None


def _note(target: str, call: Call, at: dt.datetime) -> State | None:
    # What a probe found out nobody else finds out: it waits, as long as a batch waits for a lock, for whoever just looks.
    state = states().get(target, State())
    is_probe = state.word is Word.OPEN and state.probe in call.answered | call.failed
    before = _locked(target, makes=True, waits=is_probe)
    if before is None:
        return None
    after = breaker.note(before, call, at, limits(target))
    if after != before:
        _turn(target, before, after, at, call)
    return after


def _turn(target: str, before: State, after: State, at: dt.datetime, call: Call | None = None) -> None:
    """Save the state, and with it what follows for the target's item and its rows."""
    reach("sync.breaker.before_turn")
    _save(target, after)
    if after.word is Word.OPEN:
        tried = [] if call is None else [_failure(target, after, call)]
        items.write_items(failures=tried, at=at)
    if before.word == after.word:
        return
    if after.word is Word.CLOSED:
        items.settle_target(target=target, resolution=Resolution.AUTO, at=at)
        parking.park_backing_off(target, at)
    logger.warning("sync.breaker.turned", extra={"target": target, "word": after.word, "code": after.code})
    History.objects.create(
        actor=items.SYSTEM, action=f"breaker_{after.word}", object_type="target", object_id=target,
        from_state=before.word, to_state=after.word,
    )  # fmt: skip
    reach("sync.breaker.after_turn")


def _failure(target: str, state: State, call: Call) -> items.TargetFailure:
    return items.TargetFailure(
        target=target, code=state.code, detail=state.error_object,
        failure_class=classify(state.code, retry_after=call.retry_after), attempts=state.failures,
    )  # fmt: skip


def _locked(target: str, *, makes: bool = False, waits: bool = False) -> State | None:
    """Lock a breaker's row and give its state; None: somebody else has it. Without a row: all is well."""
    if makes:
        Breaker.objects.bulk_create([Breaker(target=target)], ignore_conflicts=True)
    row = Breaker.objects.select_for_update(skip_locked=not waits, no_key=True).filter(pk=target).first()
    if row is not None:
        return _state(row)
    return None if Breaker.objects.filter(pk=target).exists() else State()


def _state(row: Breaker) -> State:
    return State(
        Word(row.word), row.since, row.failures, row.lone, tuple((s, c, f) for s, c, f in row.recent), row.probe_at,
        row.probe_seconds, row.probe, row.throttled_until, row.ramp_since, row.ramp_taken, row.code, row.error_object,
    )  # fmt: skip


def _save(target: str, state: State) -> None:
    values = asdict(state)
    values["recent"] = [list(entry) for entry in values.pop("window")]
    Breaker.objects.filter(pk=target).update(**values)
