"""The project as an app, so that its commands are found."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Carries the commands of the launcher."""

    name = "config"
