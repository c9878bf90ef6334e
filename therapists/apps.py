"""The therapists' app: what is known about a therapist, and how it is declared to be kept equal."""

from django.apps import AppConfig


class TherapistsConfig(AppConfig):
    """Registers the declaration with the engine."""

    name = "therapists"
    verbose_name = "People"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell `sync` what is a copy of what; this is all it ever hears of therapists. Keep groups, and watch sign-ins."""
        from allauth.account.signals import password_reset
        from allauth.mfa import signals as factor_signals
        from django.contrib.auth.signals import user_logged_in
        from django.db.models.signals import post_migrate
        from django.urls import reverse

        from interventions.handlers import register_page
        from sync.mirrors import register
        from sync.strict import Strict

        # All of the strict operations, so that whoever declares a second best for one is refused at the start.
        # And what services do on demand: workers carry out what the web has queued.
        from therapists import (  # noqa: F401
            approval,
            bookings,
            checks,
            credits,
            identity,
            operations,
            reminders,
            staff,
            suggestions,
        )  # fmt: skip
        from therapists.accounts import adapters, factors
        from therapists.mirrors import DECLARATION
        from therapists.roles import sync_groups_after_migrate

        register(DECLARATION)
        Strict("sign-in", because="Who somebody is is read from the source, or they are not let in.")
        checks.register()
        register_page(identity.DUPLICATE, lambda row: reverse("admin:therapists_enrollment_duplicate", args=[row]))
        register_page(identity.APPROVED_ALONE, lambda row: reverse("admin:therapists_enrollment_change", args=[row]))
        register_page(identity.ORPHAN, lambda _: reverse("admin:therapists_profile_changelist") + "?quarantined=yes")
        post_migrate.connect(sync_groups_after_migrate, dispatch_uid="therapists.roles")
        password_reset.connect(adapters.note_proof, dispatch_uid="therapists.proof")
        user_logged_in.connect(factors.note_sign_in, dispatch_uid="therapists.sign_in")
        factor_signals.authentication_failed.connect(factors.count_wrong_code, dispatch_uid="therapists.wrong_code")
        factor_signals.authenticator_used.connect(factors.note_code, dispatch_uid="therapists.right_code")
        factor_signals.authenticator_added.connect(factors.note_set_up, dispatch_uid="therapists.factor_set_up")
        for changed in (factor_signals.authenticator_added, factor_signals.authenticator_removed):
            changed.connect(factors.end_other_sessions, dispatch_uid="therapists.factor_changed")
