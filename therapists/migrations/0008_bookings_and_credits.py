"""Bookings that never overlap, and credits that are only ever added to."""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField
from django.contrib.postgres.operations import BtreeGistExtension
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Now

SQL = """
-- Whatever statement adds a line, and whoever sends it: the lines of one person take turns until the commit, and each
-- follows the one before. A transaction that cannot see that one stumbles over `credit_line_once`.
CREATE FUNCTION credit_entry_follows() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  line_before integer;
  balance_before integer;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('credit_entries', NEW.person_id));
  SELECT number, balance INTO line_before, balance_before
  FROM credit_entries WHERE person_id = NEW.person_id ORDER BY number DESC LIMIT 1;
  NEW.number := coalesce(line_before, 0) + 1;
  NEW.balance := coalesce(balance_before, 0) + NEW.amount;
  RETURN NEW;
END
$$;
CREATE TRIGGER credit_entry_follows BEFORE INSERT ON credit_entries
FOR EACH ROW EXECUTE FUNCTION credit_entry_follows();

CREATE FUNCTION credit_entry_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'credit_entries is append-only: % is refused', TG_OP USING ERRCODE = '55000';
END
$$;
CREATE TRIGGER credit_entry_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_entries
FOR EACH STATEMENT EXECUTE FUNCTION credit_entry_is_final();
"""
REVERSE = """
DROP TRIGGER credit_entry_is_final ON credit_entries;
DROP FUNCTION credit_entry_is_final();
DROP TRIGGER credit_entry_follows ON credit_entries;
DROP FUNCTION credit_entry_follows();
"""
STATES = [("requested", "Requested"), ("confirmed", "Confirmed"), ("cancelled", "Cancelled")]
KINDS = [
    ("granted", "Granted"),
    ("withdrawn", "Taken back"),
    ("debited", "Booking confirmed"),
    ("refunded", "Booking cancelled"),
]


class Migration(migrations.Migration):
    """Two new tables; the extension is trusted, so that whoever may create in the database may create it."""

    dependencies = [("therapists", "0007_time_zone")]

    operations = [
        BtreeGistExtension(),
        migrations.CreateModel(
            name="Booking",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("client_id", models.BigIntegerField()),
                ("therapist_id", models.BigIntegerField()),
                ("during", DateTimeRangeField()),
                ("time_zone", models.TextField()),
                ("state", models.TextField(choices=STATES, db_default="requested")),
                ("requested_at", models.DateTimeField(db_default=Now())),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("confirmed_by", models.BigIntegerField(null=True)),
                ("cancelled_at", models.DateTimeField(null=True)),
                ("cancelled_by", models.BigIntegerField(null=True)),
            ],
            options={
                "db_table": "bookings",
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["client_id", "-id"], name="booking_of_client"),
                    models.Index(fields=["therapist_id", "-id"], name="booking_of_therapist"),
                ],
                "constraints": [
                    ExclusionConstraint(
                        name="booking_slots_apart",
                        expressions=[("therapist_id", "="), ("during", "&&")],
                        condition=~Q(state="cancelled"),
                    ),
                    models.CheckConstraint(
                        condition=Q(
                            during__isempty=False,
                            during__lower_inc=True,
                            during__upper_inc=False,
                            during__lower_inf=False,
                            during__upper_inf=False,
                        ),
                        name="booking_has_a_beginning_and_an_end",
                    ),
                    models.CheckConstraint(condition=~Q(client_id=F("therapist_id")), name="booking_is_between_two"),
                    models.CheckConstraint(
                        condition=Q(
                            state="requested",
                            confirmed_at=None,
                            confirmed_by=None,
                            cancelled_at=None,
                            cancelled_by=None,
                        )
                        | Q(
                            state="confirmed",
                            confirmed_at__isnull=False,
                            confirmed_by__isnull=False,
                            cancelled_at=None,
                            cancelled_by=None,
                        )
                        | Q(state="cancelled", cancelled_at__isnull=False, cancelled_by__isnull=False),
                        name="booking_says_who_and_when",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CreditEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("person_id", models.BigIntegerField()),
                ("number", models.IntegerField(db_default=0)),
                ("amount", models.IntegerField()),
                ("balance", models.IntegerField(db_default=0)),
                ("kind", models.TextField(choices=KINDS)),
                ("booking_id", models.BigIntegerField(null=True)),
                ("by", models.TextField()),
                ("at", models.DateTimeField(db_default=Now())),
            ],
            options={
                "db_table": "credit_entries",
                "verbose_name_plural": "credit entries",
                "default_permissions": ("view",),
                "permissions": [("grant_credits", "May grant credits to clients, and take them back")],
                "constraints": [
                    models.CheckConstraint(condition=Q(balance__gte=0), name="credit_balance_not_negative"),
                    models.CheckConstraint(
                        condition=Q(kind__in=("granted", "refunded"), amount__gt=0)
                        | Q(kind__in=("withdrawn", "debited"), amount__lt=0),
                        name="credit_kind_has_sign",
                    ),
                    models.CheckConstraint(
                        condition=Q(kind__in=("debited", "refunded"), booking_id__isnull=False)
                        | Q(kind__in=("granted", "withdrawn"), booking_id=None),
                        name="credit_kind_has_booking",
                    ),
                    models.UniqueConstraint(fields=["person_id", "number"], name="credit_line_once"),
                    models.UniqueConstraint(
                        fields=["booking_id", "kind"], condition=Q(booking_id__isnull=False), name="credit_booking_once"
                    ),
                ],
            },
        ),
        migrations.RunSQL(SQL, REVERSE),
    ]
