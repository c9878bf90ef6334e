"""The public directory: approved therapists, what is public of them, read from the sources."""

from hashlib import sha256
from typing import Any, cast

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from interventions.api.base import ApiView
from interventions.api.pagination import NewestFirst
from interventions.api.serializers import ReadOnly
from interventions.api.views import PAGING
from therapists import queries
from therapists.models import Enrollment

# Anybody may keep it, and asks each time whether it is still so: a rejection takes effect everywhere at once.
CACHING = "public, max-age=0, must-revalidate"
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The `ETag` that you have: 304 where nothing changed."
)


class EntrySerializer(ReadOnly):
    """What everybody may know of a therapist."""

    id = serializers.IntegerField(help_text="The person's id: what a booking names.")
    full_name = serializers.CharField()
    bio = serializers.CharField(allow_null=True)
    experience_years = serializers.IntegerField(allow_null=True)
    specialization = serializers.CharField(allow_null=True)
    avatar_url = serializers.CharField(allow_null=True)


class PublicView(ApiView):
    """A view that asks nobody who they are."""

    authentication_classes: Any = []
    permission_classes: Any = [AllowAny]

    def fresh(self, request: Request, data: Any) -> Response:
        """Answer the data with its ETag, or 304 where the caller has it."""
        etag = quote_etag(sha256(JSONRenderer().render(data)).hexdigest()[:32])
        headers = {"ETag": etag, "Cache-Control": CACHING}
        found = get_conditional_response(request._request, etag=etag, response=HttpResponse())
        if found is not None and found.status_code != 200:
            return Response(status=found.status_code, headers=headers)
        return Response(data, headers=headers)


class DirectoryView(PublicView):
    """Everybody who can be booked."""

    pagination_class = NewestFirst

    @extend_schema(
        operation_id="directory_list", auth=[], parameters=[*PAGING, IF_NONE_MATCH],
        responses={200: EntrySerializer(many=True), 304: None},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """List approved therapists, those who came last first."""
        pages = self.pagination_class()
        page = pages.paginate_queryset(queries.directory(), request, view=self) or []
        return self.fresh(request, pages.get_paginated_response([entry(row) for row in page]).data)


class DirectoryEntryView(PublicView):
    """One of them."""

    @extend_schema(
        operation_id="directory_retrieve",
        auth=[],
        parameters=[IF_NONE_MATCH],
        responses={200: EntrySerializer, 304: None},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Show an approved therapist."""
        return self.fresh(request, entry(get_object_or_404(queries.directory(), user_id=pk)))


def entry(enrollment: Enrollment) -> dict[str, Any]:
    """Give what is public of a therapist, and nothing else."""
    return {
        "id": enrollment.user_id,
        "full_name": cast("Any", enrollment.user).full_name,
        "bio": enrollment.bio,
        "experience_years": enrollment.experience_years,
        "specialization": enrollment.specialization,
        "avatar_url": enrollment.profile_image_url,
    }
