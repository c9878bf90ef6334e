"""THE declaration: which fact about a therapist is repeated where. Everything else is derived from it."""

from sync.backoff import Urgency
from sync.mirrors import Copy, Declaration, Expected, Mirror, Place, SharedMirror, Table, is_one

USERS, ENROLLMENTS, PROFILES = "users", "therapist_enrollments", "therapist_profiles"
STATUS = Place(ENROLLMENTS, "status")


def _to_profile(fact: str) -> Mirror:
    return Mirror(fact, Place(ENROLLMENTS, fact), (Copy(Place(PROFILES, fact)),), routine="sync_therapist_profile_data")


DECLARATION = Declaration(
    tables=(
        Table(USERS, key="id", trigger="sync_avatar_from_users"),
        Table(ENROLLMENTS, key="user_id", trigger="sync_avatar_from_enrollments", link="email_norm"),
        Table(PROFILES, key="user_id", trigger="sync_avatar_from_profiles", expected=Expected(STATUS, "approved")),
    ),
    mirrors=(
        Mirror(
            "name",
            Place(USERS, "full_name"),
            (Copy(Place(ENROLLMENTS, "full_name")),),
            routine="sync_therapist_profile_data",
        ),
        _to_profile("bio"),
        _to_profile("experience_years"),
        _to_profile("phone"),
        Mirror(
            "verification",
            STATUS,
            (Copy(Place(USERS, "is_verified"), is_one("approved")), Copy(Place(PROFILES, "verification_status"))),
            routine="sync_verification_status",
            urgency=Urgency.URGENT,
        ),
        SharedMirror(
            "avatar",
            (Place(ENROLLMENTS, "profile_image_url"), Place(USERS, "avatar_url"), Place(PROFILES, "profile_image_url")),
            routine="sync_avatar_across_tables",
        ),
    ),
)
