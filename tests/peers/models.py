"""The three tables as a peer's Django sees them: as they are, with no trigger on them."""

from django.db import models


class User(models.Model):
    """A person; what a user model needs beside that is of no use here."""

    objects: "models.Manager[User]" = models.Manager()
    avatar_url = models.TextField(null=True)

    USERNAME_FIELD = "id"
    REQUIRED_FIELDS: list[str] = []
    is_anonymous = False
    is_authenticated = True

    class Meta:
        app_label = "peers"
        db_table = "users"
        managed = False


class Enrollment(models.Model):
    """The row that a therapist saves."""

    objects: "models.Manager[Enrollment]" = models.Manager()
    user_id = models.BigIntegerField()
    bio = models.TextField(null=True)
    profile_image_url = models.TextField(null=True)

    class Meta:
        app_label = "peers"
        db_table = "therapist_enrollments"
        managed = False


class Profile(models.Model):
    """A copy."""

    objects: "models.Manager[Profile]" = models.Manager()
    user_id = models.BigIntegerField()
    bio = models.TextField(null=True)
    profile_image_url = models.TextField(null=True)

    class Meta:
        app_label = "peers"
        db_table = "therapist_profiles"
        managed = False
