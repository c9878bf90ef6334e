"""Lists as PostgreSQL reads them: a driver that renders their members one by one costs as much as the work itself."""

from collections.abc import Iterable


def array(members: Iterable[int | str | None]) -> str:
    """
    Give ids, or names of declared targets, as PostgreSQL's text of an array; cast it where it is used.

    Not for texts from outside: nothing is quoted.
    """
    return "{" + ",".join(["NULL" if member is None else str(member) for member in members]) + "}"
