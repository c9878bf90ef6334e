"""How a source's value becomes a copy's: a closed set that lives in SQL, never with a twin in Python."""

from dataclasses import dataclass

from sync.functions import Function


@dataclass(frozen=True)
class Conversion:
    """
    SQL templates over `{value}` (the source's) and `{copy}` (the copy's); what they need is in `functions`.

    `template` gives the copy's value; null where `readable` does not hold, and then the copy is left as it is.
    `difference` is the condition that the copy is not as the source wants it: true also where the source cannot be
    read, so that nothing unread passes for equal. It must never raise: it is asked about many rows at once.
    `back` gives a copy's value in the source's own form, None where there is no way back.
    """

    name: str
    template: str = "{value}"
    difference: str = ""
    readable: str = ""
    back: str | None = "{value}"
    functions: tuple[Function, ...] = ()

    def sql(self, value: str) -> str:
        """Give the SQL expression of the copy's value for the SQL expression `value` of the source's."""
        return self.template.format(value=value)

    def differs(self, value: str, copy: str) -> str:
        """Give the condition that `copy` is not what `value` makes of it, or that `value` cannot be read."""
        if self.difference:
            return self.difference.format(value=value, copy=copy)
        return f"{copy} IS DISTINCT FROM {self.sql(value)}"

    def reads(self, value: str) -> str | None:
        """Give the condition that `value` can be read; None: it always can."""
        return self.readable.format(value=value) if self.readable else None


IDENTITY = Conversion("identity")


def is_one(wanted: str) -> Conversion:
    """Declare a boolean copy that is true where the source has the value `wanted`."""
    return Conversion(f"is {wanted}", "coalesce({value} = " + f"'{wanted}'" + ", false)", back=None)


# A slash separates nothing: "CBT/DBT" is one name.
_SEPARATORS = r",;|\n"
_SPACE = r"[\s\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000]"

_CLEAN = Function(
    "keepwell_list_clean",
    rf"""
  -- Names trimmed, with single spaces, without doubles whatever their case; the first spelling and the order stay.
  SELECT coalesce(array_agg(name ORDER BY place), '{{}}') FROM (
    SELECT DISTINCT ON (lower(normalize(name))) name, place FROM (
      SELECT btrim(regexp_replace(raw, '{_SPACE}+', ' ', 'g')) AS name, place
      FROM unnest(names) WITH ORDINALITY AS given (raw, place)) AS spaced
    WHERE name <> '' ORDER BY lower(normalize(name)), place) AS kept
""",
    returns="text[]",
    options="IMMUTABLE STRICT",
    arguments="names text[]",
    language="sql",
)
_KEY = Function(
    "keepwell_list_key",
    r"""
  -- What makes two lists equal: the set of their names, whatever their order, case and spacing.
  SELECT coalesce(array_agg(DISTINCT lower(normalize(name))), '{}') FROM unnest(keepwell_list_clean(names)) AS name
""",
    returns="text[]",
    options="IMMUTABLE STRICT",
    arguments="names text[]",
    language="sql",
)
_DECODE = Function(
    "keepwell_text_to_list",
    rf"""
DECLARE
  words text := regexp_replace(value, '^{_SPACE}+', '');
  names text[] := '{{}}';
  name text;
BEGIN
  IF left(words, 1) IN ('[', '{{') THEN
    BEGIN
      IF left(words, 1) = '[' THEN
        IF EXISTS (SELECT FROM jsonb_array_elements(words::jsonb) AS e WHERE jsonb_typeof(e) NOT IN ('string', 'null'))
        THEN RETURN NULL; END IF;
        names := ARRAY(SELECT jsonb_array_elements_text(words::jsonb));
      ELSE
        names := words::text[];
      END IF;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
      RETURN NULL;
    END;
    IF array_ndims(names) > 1 THEN RETURN NULL; END IF;
  ELSIF strpos(words, '"') = 0 THEN
    names := regexp_split_to_array(words, '[{_SEPARATORS}]');
  ELSE
    -- The longest match counts: a quoted name may hold separators, and "" for a quotation mark.
    FOR name IN SELECT regexp_replace(piece[1], '^{_SPACE}+|{_SPACE}+$', '', 'g') FROM regexp_matches(words,
        '({_SPACE}*"(?:[^"]|"")*"{_SPACE}*(?=[{_SEPARATORS}]|$)|[^{_SEPARATORS}]+)', 'g') AS piece
    LOOP
      IF name ~ '^"(?:[^"]|"")*"$' THEN
        name := replace(substr(name, 2, length(name) - 2), '""', '"');
      ELSIF left(name, 1) = '"' AND mod(length(name) - length(replace(name, '"', '')), 2) = 1 THEN
        RETURN NULL;  -- opened and never closed
      END IF;
      names := names || name;
    END LOOP;
  END IF;
  RETURN keepwell_list_clean(names);
END
""",
    returns="text[]",
    options="IMMUTABLE STRICT",
    arguments="value text",
)
_ENCODE = Function(
    "keepwell_list_to_text",
    r"""
  SELECT coalesce(string_agg(CASE WHEN name ~ '[,;|"]' OR left(name, 1) IN ('[', '{')
    THEN '"' || replace(name, '"', '""') || '"' ELSE name END, ', ' ORDER BY place), '')
  FROM unnest(keepwell_list_clean(names)) WITH ORDINALITY AS clean (name, place)
""",
    returns="text",
    options="IMMUTABLE STRICT",
    arguments="names text[]",
    language="sql",
)
_JOINED = "array_to_string(copied, ', ', '\"')"
_DIFFERS = Function(
    "keepwell_list_differs",
    rf"""
  -- The second and third line are the usual cases and cost no call, which is forty times as much: the copy, joined as
  -- it is, spells its source, or does so but for what separates the names. Stable and without settings of its own, so
  -- that the planner puts it in place of the call.
  SELECT CASE WHEN source IS NULL THEN copied IS NOT NULL
    WHEN source = {_JOINED} AND source !~ '[;|\n"[{{]'
      AND cardinality(copied) = 1 + length(source) - length(replace(source, ',', '')) THEN false
    WHEN source !~ '["[{{]' AND regexp_replace(source, '\s*[{_SEPARATORS}]\s*', ', ', 'g') = {_JOINED}
      AND cardinality(copied) = 1 + length({_JOINED}) - length(replace({_JOINED}, ',', '')) THEN false
    ELSE keepwell_list_key(copied)
      IS DISTINCT FROM coalesce(keepwell_list_key(keepwell_text_to_list(source)), ARRAY[NULL::text])
    END
""",
    returns="boolean",
    options="STABLE",
    arguments="copied text[], source text",
    language="sql",
)
# Text as people type it, to a list of names. Null stays null; a text without a name is an empty list.
TEXT_TO_LIST = Conversion(
    "text to list",
    template="keepwell_text_to_list({value})",
    difference="keepwell_list_differs({copy}, {value})",
    readable="({value} IS NULL OR keepwell_text_to_list({value}) IS NOT NULL)",
    back="keepwell_list_to_text({value})",
    functions=(_CLEAN, _KEY, _DECODE, _ENCODE, _DIFFERS),
)
