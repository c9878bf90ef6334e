"""THE declaration: which fact about a therapist is repeated where. Everything else is derived from it."""

from sync.backoff import Urgency
from sync.conversions import IDENTITY, TEXT_TO_LIST, Conversion, is_one
from sync.mirrors import Aliases, Copy, Declaration, Expected, Mirror, Place, Service, SharedMirror, Table

USERS, ENROLLMENTS, PROFILES = "users", "therapist_enrollments", "therapist_profiles"
STATUS = Place(ENROLLMENTS, "status")


def _to_profile(fact: str, conversion: Conversion = IDENTITY) -> Mirror:
    copy = Copy(Place(PROFILES, fact), conversion)
    return Mirror(fact, Place(ENROLLMENTS, fact), (copy,), routine="sync_therapist_profile_data")


def _to_enrollment(fact: str, column: str, *, is_decided: bool = False) -> Mirror:
    copy = Copy(Place(ENROLLMENTS, column))
    return Mirror(fact, Place(USERS, column), (copy,), routine="sync_therapist_profile_data", is_decided=is_decided)


DECLARATION = Declaration(
    tables=(
        Table(USERS, key="id", trigger="sync_avatar_from_users"),
        Table(
            ENROLLMENTS,
            key="user_id",
            trigger="sync_avatar_from_enrollments",
            link="email_norm",
            link_order="array_position('{approved,pending,rejected}', status), revision DESC, id",
            unlinked="CASE WHEN superseded_by IS NULL THEN 'applicant' ELSE 'superseded' END",
            link_if="superseded_by IS NULL AND set_apart_for IS DISTINCT FROM email_norm",
        ),
        Table(
            PROFILES,
            key="user_id",
            trigger="sync_avatar_from_profiles",
            expected=Expected(STATUS, "approved"),
            unlinked="'quarantined'",
        ),
    ),
    aliases=Aliases("user_aliases", spelling="email", link="email_norm"),
    services=(
        # What the directory shows of a therapist, and of nobody else.
        Service(
            "listing",
            ("name", "bio", "experience_years", "specialization", "avatar", "verification"),
            only=Expected(STATUS, "approved"),
        ),
        Service("mail", ("verification",), besides=("name", "email"), is_notice=True),
        # Ids only: that something changed, and nothing of what.
        Service("analytics", ("bio", "experience_years", "specialization", "avatar", "verification")),
    ),
    mirrors=(
        _to_enrollment("name", "full_name"),
        _to_enrollment("email", "email", is_decided=True),
        _to_profile("bio"),
        _to_profile("experience_years"),
        _to_profile("phone"),
        _to_profile("specialization", TEXT_TO_LIST),
        Mirror(
            "verification",
            STATUS,
            (
                Copy(Place(USERS, "is_verified"), is_one("approved"), absent="false"),
                Copy(Place(PROFILES, "verification_status"), absent="'pending'"),
            ),
            routine="sync_verification_status",
            urgency=Urgency.URGENT,
            is_decided=True,
        ),
        SharedMirror(
            "avatar",
            (Place(ENROLLMENTS, "profile_image_url"), Place(USERS, "avatar_url"), Place(PROFILES, "profile_image_url")),
            routine="sync_avatar_across_tables",
        ),
    ),
)
