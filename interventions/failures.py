"""How often operations answered with an error of ours, by the hour."""

import datetime as dt
from collections import Counter

from django.db import connection, transaction
from django.db.models import Sum

from interventions.models import FailedRequest

# A page that failed has waited long enough.
COUNT_MS, KEPT_DAYS = 200, 90
_COUNT = """
INSERT INTO failed_request AS f (operation, hour, number) SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::bigint[])
ON CONFLICT (hour, operation) DO UPDATE SET number = f.number + excluded.number
"""


def count(failed: Counter[tuple[str, dt.datetime]]) -> None:
    """Add to the counts, in a transaction of its own; raises DatabaseError when that takes too long."""
    rows = sorted(failed.items())
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {COUNT_MS}; SET LOCAL lock_timeout = {COUNT_MS}")
        names, hours = [name for (name, _), _ in rows], [hour for (_, hour), _ in rows]
        cursor.execute(_COUNT, [names, hours, [number for _, number in rows]])


def since(at: dt.datetime) -> dict[str, int]:
    """Give how often each operation failed from `at` on, most often first."""
    found = FailedRequest.objects.filter(hour__gte=at).values_list("operation").annotate(total=Sum("number"))
    return dict(found.order_by("-total", "operation"))


def prune(*, at: dt.datetime) -> None:
    """Forget the counts of long ago."""
    FailedRequest.objects.filter(hour__lt=at - dt.timedelta(days=KEPT_DAYS)).delete()
