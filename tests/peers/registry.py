"""Which peers there are, what each needs, and what it promises; read by both sides, so it imports none of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOCKS = Path(__file__).parent / "locks"


@dataclass(frozen=True)
class Peer:
    """One way to keep copies equal. `module` stands in this package; `package` is what is installed for it."""

    name: str
    module: str
    durable: str
    # What becomes of an update that cannot be made.
    poison: str
    package: str = ""
    apps: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    workers: int = 1
    # Slow ones are not given more than they can begin within the time.
    most_pending: int = 50_000
    saves: bool = True
    drains: bool = True

    @property
    def lock(self) -> Path:
        """The pinned and hashed packages that it needs."""
        return LOCKS / f"{self.package}.lock"


CELERY = {
    "CELERY_TASK_ACKS_LATE": True,
    "CELERY_TASK_REJECT_ON_WORKER_LOST": True,
    "CELERY_TASK_IGNORE_RESULT": True,
    "CELERY_WORKER_CONCURRENCY": 2,
    "CELERY_DB_REUSE_MAX": 1000,  # by default every task opens a connection of its own: a quarter of the rate
}
# More than any that works item by item makes in the time it is given.
SLOW = 10_000
BARE, LIMIT, OURS = "bare save", "one set-based UPDATE", "Keepwell"
PEERS = (
    Peer(BARE, "bare", durable="nothing to keep", poison="", drains=False),
    Peer("three tables in the request", "three_tables", durable="yes, all or nothing",
         poison="the person's own write fails", drains=False),
    Peer(LIMIT, "set_based", durable="yes", poison="the whole statement fails", saves=False),
    Peer(OURS, "keepwell", durable="yes", poison="each is one item of one cause, the others are equal"),
    Peer("procrastinate, 10 at once", "with_procrastinate", package="procrastinate", durable="yes",
         poison="job marked failed, not tried again unless a retry strategy is given",
         apps=("procrastinate.contrib.django",), most_pending=SLOW),
    Peer("django-celery-outbox, relay and 2 processes", "with_celery_outbox", package="django-celery-outbox",
         durable="until the relay published it", poison="message acknowledged, a line in the log",
         apps=("django_celery_outbox",),
         settings=CELERY | {"CELERY_OUTBOX_APP": "tests.peers.with_celery_outbox.app"}, workers=2, most_pending=SLOW),
    Peer("django-domain-events, 2 relays", "with_domain_events", package="django-domain-events", durable="yes",
         poison="five attempts, then dead in its table", apps=("django_domain_events",), workers=2, most_pending=SLOW),
    Peer("django-jaiminho, keep order", "with_jaiminho", package="django-jaiminho", durable="yes",
         poison="the relay stops at the first", apps=("jaiminho",),
         settings={"JAIMINHO_CONFIG": {"PUBLISH_STRATEGY": "keep-order", "DELETE_AFTER_SEND": True,
                                       "DEFAULT_CAPTURE_EXCEPTION": None}}, most_pending=SLOW),
    Peer("Celery over Redis, a task per item, 2 processes", "with_celery", package="celery", durable="no: published after the commit",
         poison="message acknowledged, a line in the log", settings=CELERY, most_pending=SLOW),
)  # fmt: skip


def peer(name: str) -> Peer:
    """Find a peer by its name or its module's."""
    return next(one for one in PEERS if name in {one.name, one.module})
