"""The request itself saves the row and both copies in one transaction."""

from tests.peers.models import Enrollment, Profile, User


def enqueue(person: int) -> None:
    """Save both copies as a view would: read each, change it, save it."""
    source = Enrollment.objects.get(user_id=person)
    user, profile = User.objects.get(pk=person), Profile.objects.get(user_id=person)
    user.avatar_url = profile.profile_image_url = source.profile_image_url
    profile.bio = source.bio
    user.save(update_fields=["avatar_url"])
    profile.save(update_fields=["bio", "profile_image_url"])
