"""A function of the database, as it is made and as a fingerprint is taken of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Function:
    """A function that the net installs; `body` is what PostgreSQL stores, and so what a fingerprint is taken of."""

    name: str
    body: str
    returns: str = "trigger"
    options: str = ""
    arguments: str = ""
    language: str = "plpgsql"

    @property
    def create(self) -> str:
        """The SQL that makes it, whatever was there before."""
        options = f" {self.options}" if self.options else ""
        return (
            f"CREATE OR REPLACE FUNCTION {self.name}({self.arguments}) RETURNS {self.returns}"
            f" LANGUAGE {self.language}{options} AS $keepwell${self.body}$keepwell$;"
        )
