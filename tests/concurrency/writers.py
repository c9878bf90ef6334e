"""People's transactions as the state machine plays them: what each has written, and which rows it holds."""

from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests import fakes

USERS, ENROLLMENTS, PROFILES = "users", "therapist_enrollments", "therapist_profiles"
TABLES = (USERS, ENROLLMENTS, PROFILES)
KEYS = {USERS: "id", ENROLLMENTS: "user_id", PROFILES: "user_id"}
# Longer than the net may ever take, far shorter than a test: who waits for a row that no person holds, fails.
LOCK_TIMEOUT = "80ms"
Row = tuple[str, int]  # table, person
Spot = tuple[str, str, int]  # table, column, person


@dataclass(frozen=True)
class Column:
    """A column that people write."""

    table: str
    name: str

    @property
    def is_avatar(self) -> bool:
        """Whether its writes are numbered."""
        return self.name in {"avatar_url", "profile_image_url"}

    def value(self, number: int) -> Any:
        """Give a value that differs from write to write, or from one to the next where there are but two."""
        if self.name in {"status", "verification_status"}:
            return "approved" if number % 2 else "rejected"
        return bool(number % 2) if self.name == "is_verified" else f"v{number}"


SOURCES = (
    Column(USERS, "full_name"), Column(ENROLLMENTS, "bio"), Column(ENROLLMENTS, "specialization"),
    Column(ENROLLMENTS, "status"),
)  # fmt: skip
AVATARS = (Column(USERS, "avatar_url"), Column(ENROLLMENTS, "profile_image_url"), Column(PROFILES, "profile_image_url"))
COPIES = (Column(PROFILES, "bio"), Column(USERS, "is_verified"), Column(ENROLLMENTS, "full_name"))
# Copies that say their source's own words, so that an older value is told from a newer one.
REPEATED = {
    Column(ENROLLMENTS, "bio"): Column(PROFILES, "bio"),
    Column(USERS, "full_name"): Column(ENROLLMENTS, "full_name"),
}


@dataclass
class Writer:
    """One connection of somebody's, and what it has done since its BEGIN."""

    connection: fakes.Connection
    is_open: bool = False
    is_repeatable: bool = False
    is_immediate: bool = False
    tables: set[str] = field(default_factory=set)
    rows: set[Row] = field(default_factory=set)
    written: dict[Spot, Any] = field(default_factory=dict)

    def begin(self, *, is_repeatable: bool = False) -> None:
        """Open a transaction where none is open."""
        if not self.is_open:
            level = "REPEATABLE READ" if is_repeatable else "READ COMMITTED"
            self.connection.execute(f"BEGIN ISOLATION LEVEL {level}")
            self.is_open, self.is_repeatable = True, is_repeatable

    def end(self, word: str) -> dict[Spot, Any]:
        """Commit or roll back; give what is written now."""
        self.connection.execute(word)
        written = self.written if word == "COMMIT" else {}
        self.is_open = self.is_repeatable = self.is_immediate = False
        self.tables, self.rows, self.written = set(), set(), {}
        return written

    def holds(self, table: str, person: int) -> bool:
        """Tell whether others must wait for this row."""
        return table in self.tables or (table, person) in self.rows

    def write(self, column: Column, person: int, value: Any) -> int | None:
        """Write one value; give the row's avatar revision, None where there is no row."""
        also = ", approved_at = now()" if column.name == "status" else ""
        found = self.connection.execute(
            f"UPDATE {column.table} SET {column.name} = %s{also} WHERE {KEYS[column.table]} = %s"
            " RETURNING avatar_revision",
            [value, person],
        ).fetchone()
        if found is None:
            return None
        # Who wants constraints at once has the copies made at once, and then holds them too.
        self.rows |= {(table, person) for table in (TABLES if self.is_immediate else (column.table,))}
        if column in SOURCES:
            self.written[column.table, column.name, person] = value
        return int(found[0])

    def constrain_now(self) -> None:
        """Ask for constraints, and so for copies, at once."""
        self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self.is_immediate = True
        self.rows |= {(table, person) for _, person in self.rows for table in TABLES}


def connect() -> fakes.Connection:
    """Open a connection whose statements wait for nobody long."""
    opened: fakes.Connection = psycopg.connect(fakes.database_url(), autocommit=True)
    opened.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    return opened
