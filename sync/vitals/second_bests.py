"""What stands by for services that are called on demand: answers that are kept, errands that wait, services that rest."""

from collections import defaultdict

from django.db import connection
from django.utils import timezone

from sync import failing
from sync.vitals.parts import Part, Verdict, counted, lasting, worst

MOST_COUNTED = 50_000
# What has waited for so long waits for more than a restart of its service.
LONG_SECONDS = 3600
_ANSWERS = (
    f"SELECT kind, count(*) FROM (SELECT kind FROM sync_kept_answer LIMIT {MOST_COUNTED}) AS kept GROUP BY 1 ORDER BY 1"
)
# Those that are done are many, and nobody's concern.
_ERRANDS = f"""
SELECT kind, state, count(*),
    coalesce(max(extract(epoch FROM clock_timestamp() - made_at)) FILTER (WHERE state = 'waiting'), 0)::float8
FROM (SELECT kind, state, made_at FROM sync_errand WHERE state <> 'done' LIMIT {MOST_COUNTED}) AS left_over
GROUP BY 1, 2 ORDER BY 1, 2
"""


def second_bests() -> Part:
    """Tell how many answers are kept and errands wait, and which services are not called for a while."""
    waiting: dict[str, dict[str, int]] = defaultdict(dict)
    oldest = 0.0
    with connection.cursor() as cursor:
        cursor.execute(_ANSWERS)
        answers = dict(cursor.fetchall())
        cursor.execute(_ERRANDS)
        for kind, state, number, age in cursor.fetchall():
            waiting[kind][state], oldest = number, max(oldest, age)
    services = failing.statistics(at=timezone.now())
    resting = [one["service"] for one in services if one["rests_for"] == "everybody"]
    errands = sum(states.get("waiting", 0) for states in waiting.values())
    says = f"{counted(sum(answers.values()), 'answer')} kept, {counted(errands, 'errand')} waiting"
    says += f" for {lasting(oldest)} at most" if errands else ""
    says += f"; not called for a while: {', '.join(resting)}" if resting else ""
    figures = {
        "answers": answers, "errands": dict(waiting), "oldest_errand_seconds": oldest,
        "rests": {one["service"]: one["service"] in resting for one in services},
        "service_failures": {one["service"]: one["failures"] for one in services},
        "calls": {one["service"]: {word: told["number"] for word, told in one["calls"].items()} for one in services},
        "call_seconds": {
            one["service"]: {word: told["mean_milliseconds"] / 1000 for word, told in one["calls"].items()}
            for one in services
        },
    }  # fmt: skip
    return Part("second_bests", worst((bool(resting) or oldest > LONG_SECONDS, Verdict.WORRYING)), says, figures)
