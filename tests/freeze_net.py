"""Write the newest frozen safety net anew from the declaration; for as long as its migration was never released."""

from pathlib import Path

from sync import net
from therapists.mirrors import DECLARATION

FROZEN = Path(__file__).parent.parent / "therapists" / "migrations" / "sql"


def freeze() -> Path:
    """Render the net into the newest frozen file; gives its path."""
    newest = max(FROZEN.glob("*.sql"))
    newest.write_text(net.install(DECLARATION) + "\n")
    return newest


if __name__ == "__main__":
    print(freeze())
