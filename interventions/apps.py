"""The desk: items that need a person. Knows nobody; whoever can retry registers a handler."""

from django.apps import AppConfig


class InterventionsConfig(AppConfig):
    """Nothing to connect."""

    name = "interventions"
    default_auto_field = "django.db.models.BigAutoField"
