"""What the sign-in library asks of us: addresses by their normal form, letters that keep nobody waiting, secrets encrypted."""

import base64
import hashlib
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.headless.base.response import ConflictResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import F
from django.http import HttpRequest

from interventions.origins import origin_of
from therapists.accounts import letters
from therapists.accounts.lockout import account_of
from therapists.models import User


class AccountAdapter(DefaultAccountAdapter):
    """Our users: an address is their name, and it is unproven until they have read a letter there."""

    def clean_email(self, email: str) -> str:
        """Give the normal form, by which addresses compare."""
        return account_of(self.request, {"email": email}) or ""

    def get_client_ip(self, request: HttpRequest) -> str:
        """Tell where the request comes from, by the same rule as the lockout."""
        return origin_of(request) or "0.0.0.0"  # noqa: S104 - nobody listens there: it names whoever has no address

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Leave counting wrong passwords to the lockout: the library would lock out an account from everywhere."""

    def send_account_already_exists_mail(self, email: str) -> None:
        """Tell who signed up before, and take as long as hashing the password of somebody new."""
        make_password("the time that it takes")
        super().send_account_already_exists_mail(email)

    def save_user(self, request: HttpRequest, user: User, form: Any, commit: bool = True) -> User:
        """Save who signed up, with an address that is still to be proven; raises ImmediateHttpResponse when it is taken."""
        user.full_name = form.cleaned_data["full_name"]
        try:
            with transaction.atomic():
                saved: User = super().save_user(request, user, form, commit)
                User.objects.filter(pk=saved.pk).update(unproven_address=F("email_norm"))
        except IntegrityError as error:
            # Two signed up with it at the same moment.
            raise ImmediateHttpResponse(ConflictResponse(request)) from error
        return saved

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Leave it to our pages to say what was done, in their own words."""

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Hand the letter over to be posted: an answer takes as long for those whom we know as for others."""
        letters.post(self.render_mail(template_prefix, email, {"email": email} | context))


class FactorAdapter(DefaultMFAAdapter):
    """Second factors, encrypted in the database with keys from the environment."""

    def encrypt(self, text: str) -> str:
        """Encrypt with the first key."""
        return _keys().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Decrypt with whichever key it was; raises cryptography.fernet.InvalidToken."""
        return _keys().decrypt(encrypted_text.encode()).decode()


def note_proof(sender: Any, request: HttpRequest, user: User, **more: Any) -> None:
    """Receive another password that was chosen with a code: whoever sent it has read a letter at the address."""
    User.objects.filter(pk=user.pk, unproven_address=F("email_norm")).update(unproven_address=None)


def _keys() -> MultiFernet:
    words = settings.SECOND_FACTOR_KEYS or [settings.SECRET_KEY]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(hashlib.sha256(word.encode()).digest())) for word in words])
