"""What Prometheus is told of the parts: each number as it was read, and none at all where it could not be."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from sync import vitals
from sync.vitals import Part

# The library's own name: where it is set, the processes behind one port add up what they counted.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True)
class Fared:
    """How the writes to one address fared: as asked, refused with a reason, or failed by an error of ours."""

    view: str
    method: str
    well: int
    refused: int
    failed: int

    @property
    def answered(self) -> int:
        """How many there were."""
        return self.well + self.refused + self.failed

    @property
    def share(self) -> str:
        """How many of a hundred did not fail; never rounded up to all of them."""
        if not self.failed:
            return "100 %"
        return f"{int(1000 * (self.answered - self.failed) / self.answered) / 10} %"


@dataclass(frozen=True)
class Measure:
    """A gauge: its name, the figure of a part that it shows, the labels that the figure is told apart by, its meaning."""

    name: str
    part: str
    figure: str
    meaning: str
    labels: tuple[str, ...] = ()


MEASURES = (
    Measure("keepwell_database_connections", "database", "connections", "Connections of clients to PostgreSQL."),
    Measure("keepwell_database_connections_most", "database", "connections_most", "What max_connections allows."),
    Measure("keepwell_database_locks_waited_for", "database", "locks_waited_for", "Locks that somebody waits for."),
    Measure("keepwell_database_oldest_transaction_seconds", "database", "oldest_transaction_seconds",
            "Age of the oldest transaction that is open."),
    Measure("keepwell_database_durable", "durability", "durable", "1 where a setting keeps what was committed.", ("setting",)),
    Measure("keepwell_database_replicas", "replicas", "replicas", "Replicas that are connected."),
    Measure("keepwell_database_replication_lag_seconds", "replicas", "replication_lag_seconds",
            "How far the slowest replica is behind; absent without one."),
    Measure("keepwell_database_replication_lag_bytes", "replicas", "replication_lag_bytes",
            "What it has not replayed; absent without one."),
    Measure("keepwell_net_debt", "net", "debt", "1 while every write is seen."),
    Measure("keepwell_net_copying", "net", "copying", "1 while the database makes copies at commit."),
    Measure("keepwell_net_verified", "net", "is_verified", "0 from when the net was off until an audit has run."),
    Measure("keepwell_owed_copies", "owed", "copies", "Copies that are behind their source; 50,000 and more are that many."),
    Measure("keepwell_oldest_owed_seconds", "owed", "oldest_seconds", "For how long the oldest of them is; 0: nothing is."),
    Measure("keepwell_divergence_seconds", "owed", "divergence_seconds",
            "The ages of all copies that are behind now, added up: ten copies that are behind for a minute are 600."),
    Measure("keepwell_debt_rows", "owed", "debt_rows", "Debt that no worker has taken up."),
    Measure("keepwell_belated_rows", "owed", "belated_rows", "Rows that a trigger could not append yet."),
    Measure("keepwell_ledger_rows", "owed", "states", "Owed ledger rows by target and state.", ("target", "state")),
    Measure("keepwell_breaker_open", "targets", "shut", "1 while a target is left alone.", ("target",)),
    Measure("keepwell_breaker_failures", "targets", "failures", "Failed batches of a target in a row.", ("target",)),
    Measure("keepwell_target_switched_off", "targets", "switched_off", "1 while staff have a target switched off.", ("target",)),
    Measure("keepwell_open_items", "items", "states", "Open interventions by state.", ("state",)),
    Measure("keepwell_items_for_a_person", "items", "for_a_person", "Those that nobody tries or has put off; 1,000 are more."),
    Measure("keepwell_open_causes", "items", "causes", "Causes that are not resolved."),
    Measure("keepwell_consistency_percent", "consistency", "percent",
            "Facts that are equal everywhere, of a hundred, as the last full audit found; absent before the first one."),
    Measure("keepwell_consistent_facts", "consistency", "consistent", "Persons whose fact is equal everywhere.", ("fact",)),
    Measure("keepwell_compared_facts", "consistency", "compared", "Persons whose fact was compared.", ("fact",)),
    Measure("keepwell_audit_age_seconds", "consistency", "age_seconds", "For how long the last full audit has been over."),
    Measure("keepwell_alive", "signs", "alive", "Processes of a role that gave a sign of life lately.", ("role",)),
    Measure("keepwell_sign_age_seconds", "signs", "age_seconds", "Age of a role's newest sign of life.", ("role",)),
    Measure("keepwell_streams_open", "signs", "streams", "Streams of events that are open, of all processes together."),
    Measure("keepwell_failed_answers", "failures", "answers", "Answers that were our error, within a day.", ("operation",)),
    Measure("keepwell_failed_tries", "failures", "tries", "Tries that failed, within an hour.", ("target", "outcome")),
    Measure("keepwell_try_seconds", "failures", "seconds", "How long tries took each, in the mean of an hour's.", ("target", "outcome")),
    Measure("keepwell_keys", "keys", "rows", "Idempotency keys that are kept, as PostgreSQL estimates it."),
    Measure("keepwell_keys_bytes", "keys", "bytes", "Their space."),
    Measure("keepwell_keys_unanswered", "keys", "unanswered", "Keyed writes of the last day whose process died before it answered."),
    Measure("keepwell_kept_answers", "second_bests", "answers", "Answers of services that are kept; 50,000 and more are that many.", ("kind",)),
    Measure("keepwell_errands", "second_bests", "errands", "Calls to services that wait, or ended undone; likewise.", ("kind", "state")),
    Measure("keepwell_oldest_errand_seconds", "second_bests", "oldest_errand_seconds", "For how long the oldest of them waits; 0: none does."),
    Measure("keepwell_service_rests", "second_bests", "rests", "1 while no request calls a service, for it failed too often.", ("service",)),
    Measure("keepwell_service_failures", "second_bests", "service_failures", "Its failures within five minutes.", ("service",)),
    Measure("keepwell_service_calls", "second_bests", "calls", "Calls to it within a day, by what became of them.", ("service", "outcome")),
    Measure("keepwell_service_call_seconds", "second_bests", "call_seconds", "How long these took each, in the mean.", ("service", "outcome")),
    Measure("keepwell_queue_messages", "queues", "waiting", "Messages that no worker has taken.", ("queue",)),
    Measure("keepwell_queue_unacknowledged", "queues", "unacknowledged", "Messages in workers' hands."),
    Measure("keepwell_spool_waiting", "spool", "waiting", "Failures in this machine's spool."),
    Measure("keepwell_spool_oldest_seconds", "spool", "oldest_seconds", "For how long the oldest of them waits; absent: none does."),
    Measure("keepwell_spool_unreadable", "spool", "unreadable", "Files of the spool that were set aside."),
    Measure("keepwell_spool_refused", "spool", "refused", "Failures that found no room there."),
    Measure("keepwell_disk_free_bytes", "disks", "free_bytes", "Room on the disk of a directory.", ("disk",)),
    Measure("keepwell_disk_free_ratio", "disks", "free_ratio", "The same as a share of the disk, from 0 to 1.", ("disk",)),
)  # fmt: skip
READABLE, GOOD = "keepwell_part_readable", "keepwell_part_good"


class Parts(Collector):
    """Reads the parts when it is asked, and gives them as gauges; never raises."""

    def collect(self) -> Iterator[Metric]:
        """Give whether each part can be read and is good, then the figures of those that can."""
        found = {part.name: part for part in vitals.everything(kept=vitals.KEPT_SECONDS)}
        yield _gauge(READABLE, "1 where a part could be read; where it is 0, its numbers are absent.", ("part",),
                     {name: part.is_known for name, part in found.items()})  # fmt: skip
        yield _gauge(GOOD, "1 where a part is as it should be; 0 also where nobody knows.", ("part",),
                     {name: part.verdict is vitals.Verdict.GOOD for name, part in found.items()})  # fmt: skip
        for measure in MEASURES:
            value = _figure(found[measure.part], measure)
            if value is not None:
                yield _gauge(measure.name, measure.meaning, measure.labels, value)


def _figure(part: Part, measure: Measure) -> Any:
    return part.figures.get(measure.figure) if part.is_known else None


def _gauge(name: str, meaning: str, labels: tuple[str, ...], value: Any) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for words, number in _numbers(value, len(labels)):
        family.add_metric(words, float(number))
    return family


def _numbers(value: Any, depth: int) -> Iterator[tuple[list[str], float]]:
    if not depth:
        yield [], value
        return
    inner: Mapping[str, Any] = value
    for word, below in inner.items():
        for words, number in _numbers(below, depth - 1):
            yield [word, *words], number


def counted() -> CollectorRegistry:
    """Give what this process counted, or what all behind its port did."""
    if not os.environ.get(SHARED):
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def fared() -> list[Fared]:
    """Tell how the writes to each address fared since counting began, the worst first."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for metric in counted().collect():
        for sample in metric.samples if metric.name == "keepwell_requests" else ():
            view, method, status = (sample.labels.get(name, "") for name in ("view", "method", "status"))
            if sample.name == "keepwell_requests_total" and method in WRITES:
                word = {"4": "refused", "5": "failed"}.get(status[:1], "well")
                found.setdefault((view, method), Counter())[word] += int(sample.value)
    lines = [Fared(*key, *(words[word] for word in ("well", "refused", "failed"))) for key, words in found.items()]
    return sorted(lines, key=lambda line: (-line.failed, -line.answered, line.view))
