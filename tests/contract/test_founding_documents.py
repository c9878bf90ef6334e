"""The page on the founding documents: it answers every name in them, and what it calls built is there."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import get_commands
from django.db import connection
from django.urls import Resolver404, resolve

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "from-the-founding-documents.md"
COLUMNS = ("name in the document", "status", "where it lives here", "test or reason")
STATUSES = {"built", "better not", "planned: adoption"}
DOCUMENTS, FEWEST_ROWS = 5, 250
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
TOKEN = re.compile(r"`([^`]+)`")
ATTRIBUTE = re.compile(r"(?:config|therapists|sync|interventions)(?:\.\w+)*:\w+(?:\.\w+)*")
ANY_ID = ("1", "00000000-0000-0000-0000-000000000001")
# Names that a reader of the founding documents looks for.
KEY_NAMES = re.findall(
    r"\S+",
    """
updateProfile updateTable1 logForManualFix uploadToStorage EnhancedTherapistConsistency.syncAvatar
EnhancedTherapistConsistency.syncAllTherapistData EnhancedTherapistConsistency.withGracefulDegradation
TherapistConsistencyManager.approveTherapist THERAPIST_EVENTS.AVATAR_UPDATED THERAPIST_EVENTS.PROFILE_UPDATED
app/api/therapist/upload-avatar/route.ts app/api/therapist/update-profile/route.ts
app/api/admin/approve-verification/route.ts logManualInterventionNeeded manual_intervention_log
idx_manual_intervention_unresolved scripts/check-manual-interventions.ts checkManualInterventions
PHASE-1-SAFETY-NET.sql PHASE-1-IMPLEMENTATION-GUIDE.md lib/therapist-consistency-enhanced.ts fixAllInconsistencies()
sync_avatar_from_enrollments sync_avatar_from_users sync_avatar_from_profiles sync_avatar_across_tables()
sync_therapist_profile_data() sync_verification_status() scripts/fix-existing-inconsistencies.ts avatar_synced
bio_synced database/robust_session.py database/connection_manager.py database/health_monitor.py
services/graceful_services.py services/fallback_clients.py services/service_health.py models/safe_conversion.py
models/flexible_schemas.py error_handling/global_handlers error_handling/error_recovery error_handling/monitoring
createIdempotencyMiddleware X-Idempotency-Key retryWithBackoff realtimeSync.publish realtimeSync.subscribe
getSubscriptionCount SyncButton useSyncMutation SyncButtonWithProgress SyncButtonWithConfirm SyncStatusPage
getOfflineQueue syncOfflineQueue useOfflineSync CircuitBreaker getSyncHealthMetrics getIdempotencyCacheStats
executeWithFallback aiResponseCache.set integrationFailureManager.shouldSkipService backgroundJobQueue.dequeue
generateAndPublishContent getUserFriendlyMessage executeService
""",
)
KEY_PHRASES = (
    "User-facing error rate should drop to near zero",
    "Target: < 5 items",
    "Target < 0.5% error rate",
    "Recovery Time: < 5 seconds",
    "Database backup exists",
    "Always cache successful AI responses",
    "Idempotency: Same request twice returns identical response",
)


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    section: str
    name: str
    status: str
    where: str
    reason: str

    @property
    def claims(self) -> list[str]:
        """Give everything that the row says is there today."""
        promised = [] if self.status.startswith("planned") else TOKEN.findall(self.where)
        said = TOKEN.findall(f"{self.where} {self.reason}")
        return promised + [word for word in said if word.startswith("tests/") or ATTRIBUTE.fullmatch(word)]


@cache
def rows() -> tuple[Row, ...]:
    section, found = "", []
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("| "):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            assert len(cells) == len(COLUMNS), line
            if tuple(cells) != COLUMNS:
                found.append(Row(section, *cells))
    return tuple(found)


def is_there(claim: str) -> bool:
    """Tell whether a command, a target, an endpoint, an attribute, a column, a file or a test exists."""
    kind, _, rest = claim.partition(" ")
    if kind == "manage.py":
        return rest.split()[0] in get_commands()
    if kind == "make" and rest.startswith("bench-"):
        return (ROOT / "tests" / f"bench_{rest.removeprefix('bench-')}.py").exists()
    if kind == "make":
        return re.search(rf"^{re.escape(rest)}:", (ROOT / "Makefile").read_text(), re.MULTILINE) is not None
    if kind in METHODS:
        return any(is_answered(kind, rest.replace("{id}", any_id)) for any_id in ANY_ID)
    if claim.startswith("tests/"):
        return is_tested(*claim.split("::"))
    if ATTRIBUTE.fullmatch(claim):
        return is_importable(*claim.split(":"))
    if ":" in claim:
        name, _, word = claim.partition(":")
        return (ROOT / name).is_file() and word in (ROOT / name).read_text()
    return claim in columns() or (ROOT / claim).exists()


def is_answered(method: str, path: str) -> bool:
    try:
        found = resolve(path)
    except Resolver404:
        return False
    view_class = getattr(found.func, "cls", None) or getattr(found.func, "view_class", None)
    # A view without methods answers for its own address only: the last pattern takes whatever is left.
    return hasattr(view_class, method.lower()) if view_class else found.route == path.lstrip("/")


def is_tested(path: str, *names: str) -> bool:
    file = ROOT / path
    if not names:
        return file.exists()
    if not file.is_file():
        return False
    scope: list[ast.stmt] = ast.parse(file.read_text()).body
    for name in names:
        inside = [n for n in scope if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == name]
        if not inside:
            return False
        scope = inside[0].body
    return True


def is_importable(module: str, attribute: str) -> bool:
    try:
        owner, _, last = attribute.rpartition(".")
        thing = import_module(module)
        thing = attrgetter(owner)(thing) if owner else thing
    except (ImportError, AttributeError):
        return False
    return hasattr(thing, last) or last in getattr(thing, "__annotations__", {})


@cache
def columns() -> frozenset[str]:
    return frozenset(
        f"{model._meta.db_table}.{field.column}" for model in apps.get_models() for field in model._meta.local_fields
    )


class TestThePage:
    def test_has_a_section_for_each_document(self) -> None:
        sections = list(dict.fromkeys(row.section for row in rows()))
        assert [section[:2] for section in sections] == [f"{n}." for n in range(1, DOCUMENTS + 1)]
        assert len(rows()) >= FEWEST_ROWS

    def test_gives_every_row_a_status_a_place_and_a_test_or_reason(self) -> None:
        assert [row for row in rows() if row.status not in STATUSES] == []
        assert [row for row in rows() if not (row.name and row.where and row.reason)] == []

    def test_names_nothing_twice_in_one_section(self) -> None:
        names = [(row.section, row.name) for row in rows()]
        assert sorted({name for name in names if names.count(name) > 1}) == []

    @pytest.mark.parametrize("name", [*KEY_NAMES, *KEY_PHRASES])
    def test_answers(self, name: str) -> None:
        assert any(name in row.name for row in rows())


@pytest.mark.parametrize("number", range(1, DOCUMENTS + 1))
def test_what_is_called_built_is_there(number: int) -> None:
    section = [row for row in rows() if row.section.startswith(f"{number}.")]
    nameless = [row.name for row in section if row.status == "built" and not row.claims]
    missing = {row.name: [claim for claim in row.claims if not is_there(claim)] for row in section}
    assert nameless == []
    assert {name: claims for name, claims in missing.items() if claims} == {}


class TestTheirSql:
    """Programs that know the founding tables go on working."""

    # As in their CREATE TABLE: type, whether null is allowed, whether there is a default.
    LOG = {
        "id": ("uuid", "NO", True),
        "operation": ("text", "NO", False),
        "entity_id": ("text", "YES", False),
        "error": ("text", "NO", False),
        "payload": ("jsonb", "YES", False),
        "timestamp": ("timestamp with time zone", "NO", True),
        "resolved_at": ("timestamp with time zone", "YES", False),
        "resolved_by": ("text", "YES", False),
        "resolution_notes": ("text", "YES", False),
    }

    def test_finds_the_logs_columns_and_index(self, db: None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT column_name, data_type, is_nullable, column_default IS NOT NULL"
                " FROM information_schema.columns WHERE table_name = 'manual_intervention_log'"
            )
            found = {name: (kind, null, default) for name, kind, null, default in cursor.fetchall()}
            cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'idx_manual_intervention_unresolved'")
            index = str(cursor.fetchone()[0])
        assert {name: found.get(name) for name in self.LOG} == self.LOG
        # Theirs allows null, which would be neither resolved nor not.
        assert found["resolved"] == ("boolean", "NO", True)
        assert index.endswith('USING btree (resolved, "timestamp" DESC) WHERE (resolved = false)')

    def test_writes_and_counts_as_it_did(self, db: None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO manual_intervention_log (operation, entity_id, error, payload, timestamp, resolved)"
                " VALUES ('avatar-sync', '1', 'refused', '{}', now(), false)"
            )
            cursor.execute("SELECT COUNT(*) FROM manual_intervention_log WHERE resolved = false")
            assert cursor.fetchone() == (1,)
            cursor.execute("UPDATE manual_intervention_log SET resolved = true WHERE entity_id = '1'")
            cursor.execute("SELECT state, resolved_at IS NOT NULL FROM manual_intervention_log")
            assert cursor.fetchone() == ("resolved", True)

    def test_measures_the_first_week(self, db: None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT COUNT(*) as total,
                       SUM(CASE WHEN u.avatar_url = te.profile_image_url THEN 1 ELSE 0 END) as avatar_synced,
                       SUM(CASE WHEN te.bio = tp.bio THEN 1 ELSE 0 END) as bio_synced
                FROM users u
                LEFT JOIN therapist_enrollments te ON u.email = te.email
                LEFT JOIN therapist_profiles tp ON u.id = tp.user_id
                WHERE u.user_type = 'therapist'
                """
            )
            assert cursor.fetchone() == (0, None, None)
