"""The field by place table, cut so that a difference can be seen."""

from dataclasses import dataclass

from interventions.handlers import Cell, Comparison

LONGEST = 160
BEFORE_DIFFERENCE = 40


@dataclass(frozen=True)
class ShownCell:
    """A cell and the part of its text that is shown."""

    cell: Cell
    text: str | None


@dataclass(frozen=True)
class ShownRow:
    """One fact in every place."""

    fact: str
    cells: tuple[ShownCell, ...]


def rows(comparison: Comparison) -> list[ShownRow]:
    """Shorten long texts: equal ones from their beginning, different ones around the first difference."""
    shown = []
    for row in comparison.rows:
        texts = [cell.text for cell in row.cells if cell.text is not None and (cell.differs or cell.is_source)]
        start = _first_difference(texts) if any(cell.differs for cell in row.cells) else 0
        shown.append(ShownRow(row.fact, tuple(ShownCell(cell, _cut(cell.text, start)) for cell in row.cells)))
    return shown


def _first_difference(texts: list[str]) -> int:
    if len(texts) < 2:
        return 0
    shortest = min(len(text) for text in texts)
    return next((i for i in range(shortest) if len({text[i] for text in texts}) > 1), shortest)


def _cut(text: str | None, difference: int) -> str | None:
    if text is None or len(text) <= LONGEST:
        return text
    start = max(0, difference - BEFORE_DIFFERENCE) if difference > LONGEST - BEFORE_DIFFERENCE else 0
    part = text[start : start + LONGEST]
    return ("… " if start else "") + part + (" …" if start + LONGEST < len(text) else "")
