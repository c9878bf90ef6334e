"""What is asked of whoever signs up, beside address and password."""

from django import forms
from django.http import HttpRequest

from therapists.models import User


class NewAccount(forms.Form):
    """A name to greet them by."""

    full_name = forms.CharField(max_length=200)

    def signup(self, request: HttpRequest, user: User) -> None:
        """Add nothing: the adapter saved it with the user."""
