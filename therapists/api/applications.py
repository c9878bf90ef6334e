"""Applications: open to everybody, and telling nobody who is known here."""

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from interventions.api.base import ApiView, Key
from interventions.api.envelope import exact
from interventions.api.serializers import ReadOnly, Strict, envelope_of
from therapists.api.serializers import ProfileChanges
from therapists.applications import apply_as_therapist

# True whether it was made just now, or was there before.
RECEIVED = "Thank you. An application for this address is with our staff."


class ApplicationRequest(Strict):
    """What an applicant says of themselves."""

    def get_fields(self) -> dict[str, Any]:
        """Take the fields that therapists edit later, under the same rules; name and address are required."""
        of_profile = ProfileChanges().get_fields()
        fields = {name: field for name, field in of_profile.items() if not field.read_only}
        fields["email"].required = fields["full_name"].required = True
        return fields


class ApplicationSerializer(ReadOnly):
    """For which address."""

    email = serializers.CharField()


class ApplicationsView(ApiView):
    """Applications as a therapist."""

    # Nobody is signed in whose key it could be; a second application of an address is none.
    key: ClassVar[Key] = Key.IGNORED
    authentication_classes: Any = []
    permission_classes: Any = [AllowAny]

    @extend_schema(
        operation_id="applications_create", request=ApplicationRequest, auth=[],
        responses={202: envelope_of("Application", ApplicationSerializer)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Apply. The answer is the same whether the address is known here or not."""
        asked = ApplicationRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        facts = dict(asked.validated_data)
        email = facts.pop("email")
        apply_as_therapist(email=email, facts=facts, at=timezone.now())
        return exact(data={"email": email}, what=RECEIVED, status=202)
