"""JSON bodies with a bound."""

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework import parsers
from rest_framework.exceptions import ParseError

from interventions.api.problems import Problem


class BoundedJSONParser(parsers.JSONParser):
    """The framework's parser reads the stream past DATA_UPLOAD_MAX_MEMORY_SIZE and recurses as deep as the body says."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Parse the body; raises Problem (413) and ParseError."""
        length = parser_context["request"].META.get("CONTENT_LENGTH") if parser_context else None
        if length and length.isdigit() and int(length) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise Problem(413, "too_large", "The request is too large.")
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("The body is nested too deeply.") from error
