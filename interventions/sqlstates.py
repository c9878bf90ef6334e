"""What PostgreSQL said, by the five characters behind an error of Django's. The words of a message quote values."""

CONNECTION_LOST = "08000"


def code_of(error: BaseException | None) -> str:
    """Give the SQLSTATE; empty where there is none."""
    return str(getattr(getattr(error, "__cause__", None), "sqlstate", None) or "")


def sqlstate(error: BaseException) -> str:
    """Give the SQLSTATE of a database error; 08000 where the connection itself broke."""
    return code_of(error) or CONNECTION_LOST


def name_of(error: BaseException) -> str:
    """Name an error for logs and items: its SQLSTATE, or else its kind."""
    return code_of(error) or type(error).__name__
