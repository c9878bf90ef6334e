"""How PostgreSQL itself is: connections, locks, transactions, whether what is committed is kept, and its replicas."""

from django.db import connection

from sync.vitals.parts import Part, Verdict, counted, lasting, unknown, worst

# Of max_connections; above the second bound the next deployment finds no room.
WORRYING_SHARE, BAD_SHARE = 0.75, 0.9
OLD_TRANSACTION_SECONDS, LAG_SECONDS, LAG_BYTES = 300, 60, 256 * 2**20
DURABLE = {
    "fsync": {"on"},
    "full_page_writes": {"on"},
    "synchronous_commit": {"on", "local", "remote_write", "remote_apply"},
}
# Rows of other roles show neither their transaction nor their state to a role without pg_read_all_stats.
_DATABASE = """
SELECT count(*), current_setting('max_connections')::int, (SELECT count(*) FROM pg_locks WHERE NOT granted),
       max(extract(epoch FROM clock_timestamp() - xact_start))
           FILTER (WHERE datname = current_database() AND pid <> pg_backend_pid()),
       count(*) FILTER (WHERE datname = current_database() AND query = '<insufficient privilege>')
FROM pg_stat_activity WHERE backend_type = 'client backend'
"""
# A replica tells of its lag as it replays: one that does not replay goes on telling the last it knew, so that bytes count
# too. Of one that has everything and waits for more the clock would run on.
_REPLICAS = """
SELECT count(*), count(*) FILTER (WHERE state IS NULL),
       max(CASE WHEN replay_lsn >= sent_lsn THEN 0 ELSE extract(epoch FROM replay_lag) END)::float8,
       max(pg_wal_lsn_diff(here, replay_lsn))::bigint, pg_is_in_recovery(),
       CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END::float8
FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END AS here) AS now
CROSS JOIN pg_stat_replication
"""


def database() -> Part:
    """Tell how full and how busy the server is."""
    with connection.cursor() as cursor:
        cursor.execute(_DATABASE)
        used, most, waiting, oldest, hidden = cursor.fetchone()
    oldest, share = float(oldest or 0), used / most
    says = f"{used} of {most} connections, {counted(waiting, 'lock')} waited for, "
    says += f"oldest transaction {lasting(oldest)}" if oldest else "no other transaction"
    if hidden:
        says += f"; what {counted(hidden, 'session')} of other roles do is hidden: grant pg_read_all_stats"
    verdict = worst(
        (share >= WORRYING_SHARE or oldest > OLD_TRANSACTION_SECONDS, Verdict.WORRYING),
        (share >= BAD_SHARE, Verdict.BAD),
    )
    return Part(
        "database", verdict, says,
        {"connections": used, "connections_most": most, "locks_waited_for": waiting,
         "oldest_transaction_seconds": round(oldest, 1), "sessions_hidden": hidden},
    )  # fmt: skip


def durability() -> Part:
    """Tell whether what was committed survives a crash of the server."""
    found = durable_settings()
    lazy = [f"{name} is {value}" for name, (value, is_good) in found.items() if not is_good]
    says = f"{', '.join(lazy)}: what was answered may be lost" if lazy else "what is committed is on disk"
    figures = {"durable": {name: is_good for name, (_, is_good) in found.items()}}
    return Part("durability", Verdict.BAD if lazy else Verdict.GOOD, says, figures)


def durable_settings() -> dict[str, tuple[str, bool]]:
    """Give each setting that durability hangs on, with its value and whether that is a good one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(DURABLE)])
        found = dict(cursor.fetchall())
    return {name: (str(found.get(name)), found.get(name) in good) for name, good in DURABLE.items()}


def replicas() -> Part:
    """Tell how far replicas are behind; a server that is one itself, how far it is."""
    with connection.cursor() as cursor:
        cursor.execute(_REPLICAS)
        number, hidden, lag, behind, is_replica, own_lag = cursor.fetchone()
    return told(number, hidden, lag, behind, own_lag if is_replica else None)


def told(number: int, hidden: int, lag: float | None, behind: int | None, own_lag: float | None) -> Part:
    """
    Say what was read of replicas: how many, of how many nothing may be known, and the longest lag in seconds and in bytes.

    `own_lag`: how far this server is behind, where it is a replica itself.
    """
    if number and (hidden or lag is None or behind is None):
        why = "grant pg_read_all_stats to see it" if hidden else "they have not told yet"
        return unknown("replicas", f"{counted(number, 'replica')}, and how far behind is not known: {why}")
    seconds, missing = float(own_lag if own_lag is not None else lag or 0), max(0, behind or 0)
    if own_lag is not None:
        says = f"this server is a replica, {lasting(seconds)} behind"
    else:
        says = f"{counted(number, 'replica')}, the slowest {lasting(seconds)} and {missing // 1024:,} kB behind"
        says = says if number else "no replica"
    figures: dict[str, object] = {"replicas": number}
    if number:
        figures["replication_lag_bytes"] = missing
    if number or own_lag is not None:
        figures["replication_lag_seconds"] = round(seconds, 3)
    return Part("replicas", worst((seconds > LAG_SECONDS or missing > LAG_BYTES, Verdict.WORRYING)), says, figures)
