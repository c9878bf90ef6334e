"""Pages that stay stable while rows come and go."""

import datetime as dt
from typing import Any

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request


class NewestFirst(CursorPagination):
    """Twenty-five rows a page, newest first by `ordering`; never counts the whole table."""

    page_size = 25
    page_size_query_param = "page_size"
    max_page_size = 100
    ordering: Any = "-id"

    def get_page_size(self, request: Request) -> int:
        """Read how many rows are asked for; raises ValidationError for what is no number of rows."""
        given = request.query_params.get(self.page_size_query_param)
        if given is None:
            return self.page_size
        number = given.lstrip("0")
        if not (number.isascii() and number.isdigit()):
            raise ValidationError({self.page_size_query_param: ["Give a number of rows, 1 or more."]})
        return (
            self.max_page_size if len(number) > len(str(self.max_page_size)) else min(int(number), self.max_page_size)
        )

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Read the cursor; raises ValidationError for one that we never gave."""
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                self.read_position(str(cursor.position))
        except (NotFound, ValueError, OverflowError) as error:
            raise ValidationError({"cursor": ["This is no cursor of ours."]}, code="no_cursor") from error
        return cursor

    def read_position(self, position: str) -> None:
        """Raise ValueError for a position that the ordering's first column cannot have."""
        int(position)


class NewestMomentFirst(NewestFirst):
    """The same by a moment, with the id between rows of one moment."""

    ordering = ("-timestamp", "-id")

    def read_position(self, position: str) -> None:
        """Raise ValueError for what is no moment."""
        dt.datetime.fromisoformat(position)
