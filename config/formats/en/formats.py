"""Dates and times of the admin's own columns and fields: as the desk writes them, with the zone's name."""

DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "j M Y, H:i T"
