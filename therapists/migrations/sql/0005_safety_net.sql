CREATE SEQUENCE IF NOT EXISTS sync_revision CACHE 1;
ALTER TABLE users ADD COLUMN IF NOT EXISTS revision bigint NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN IF NOT EXISTS avatar_revision bigint NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN IF NOT EXISTS net_revision bigint NOT NULL DEFAULT 0;
ALTER TABLE therapist_enrollments ADD COLUMN IF NOT EXISTS revision bigint NOT NULL DEFAULT 0;
ALTER TABLE therapist_enrollments ADD COLUMN IF NOT EXISTS avatar_revision bigint NOT NULL DEFAULT 0;
ALTER TABLE therapist_enrollments ADD COLUMN IF NOT EXISTS net_revision bigint NOT NULL DEFAULT 0;
ALTER TABLE therapist_profiles ADD COLUMN IF NOT EXISTS revision bigint NOT NULL DEFAULT 0;
ALTER TABLE therapist_profiles ADD COLUMN IF NOT EXISTS avatar_revision bigint NOT NULL DEFAULT 0;
ALTER TABLE therapist_profiles ADD COLUMN IF NOT EXISTS net_revision bigint NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN IF NOT EXISTS last_changes jsonb NOT NULL DEFAULT '{}';
ALTER TABLE therapist_enrollments ADD COLUMN IF NOT EXISTS last_changes jsonb NOT NULL DEFAULT '{}';
ALTER TABLE therapist_profiles ADD COLUMN IF NOT EXISTS last_changes jsonb NOT NULL DEFAULT '{}';
DO $keepwell$ BEGIN
  IF current_setting('server_version_num')::int >= 160000 THEN
    CREATE INDEX IF NOT EXISTS users_numbered ON users USING brin (revision, net_revision) WITH (pages_per_range = 16, autosummarize = on);
    CREATE INDEX IF NOT EXISTS therapist_enrollments_numbered ON therapist_enrollments USING brin (revision, net_revision) WITH (pages_per_range = 16, autosummarize = on);
    CREATE INDEX IF NOT EXISTS therapist_profiles_numbered ON therapist_profiles USING brin (revision, net_revision) WITH (pages_per_range = 16, autosummarize = on);
    DROP INDEX IF EXISTS users_written;
    DROP INDEX IF EXISTS therapist_enrollments_written;
    DROP INDEX IF EXISTS therapist_profiles_written;
  END IF;
END $keepwell$;

CREATE OR REPLACE FUNCTION keepwell_list_clean(names text[]) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT AS $keepwell$
  -- Names trimmed, with single spaces, without doubles whatever their case; the first spelling and the order stay.
  SELECT coalesce(array_agg(name ORDER BY place), '{}') FROM (
    SELECT DISTINCT ON (lower(normalize(name))) name, place FROM (
      SELECT btrim(regexp_replace(raw, '[\s\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000]+', ' ', 'g')) AS name, place
      FROM unnest(names) WITH ORDINALITY AS given (raw, place)) AS spaced
    WHERE name <> '' ORDER BY lower(normalize(name)), place) AS kept
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_list_key(names text[]) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT AS $keepwell$
  -- What makes two lists equal: the set of their names, whatever their order, case and spacing.
  SELECT coalesce(array_agg(DISTINCT lower(normalize(name))), '{}') FROM unnest(keepwell_list_clean(names)) AS name
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_text_to_list(value text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE STRICT AS $keepwell$
DECLARE
  words text := regexp_replace(value, '^[\s\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000]+', '');
  names text[] := '{}';
  name text;
BEGIN
  IF left(words, 1) IN ('[', '{') THEN
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
    names := regexp_split_to_array(words, '[,;|\n]');
  ELSE
    -- The longest match counts: a quoted name may hold separators, and "" for a quotation mark.
    FOR name IN SELECT regexp_replace(piece[1], '^[\s\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000]+|[\s\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000]+$', '', 'g') FROM regexp_matches(words,
        '([\s\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000]*"(?:[^"]|"")*"[\s\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000]*(?=[,;|\n]|$)|[^,;|\n]+)', 'g') AS piece
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
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_list_to_text(names text[]) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $keepwell$
  SELECT coalesce(string_agg(CASE WHEN name ~ '[,;|"]' OR left(name, 1) IN ('[', '{')
    THEN '"' || replace(name, '"', '""') || '"' ELSE name END, ', ' ORDER BY place), '')
  FROM unnest(keepwell_list_clean(names)) WITH ORDINALITY AS clean (name, place)
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_list_differs(copied text[], source text) RETURNS boolean LANGUAGE sql STABLE AS $keepwell$
  -- The second and third line are the usual cases and cost no call, which is forty times as much: the copy, joined as
  -- it is, spells its source, or does so but for what separates the names. Stable and without settings of its own, so
  -- that the planner puts it in place of the call.
  SELECT CASE WHEN source IS NULL THEN copied IS NOT NULL
    WHEN source = array_to_string(copied, ', ', '"') AND source !~ '[;|\n"[{]'
      AND cardinality(copied) = 1 + length(source) - length(replace(source, ',', '')) THEN false
    WHEN source !~ '["[{]' AND regexp_replace(source, '\s*[,;|\n]\s*', ', ', 'g') = array_to_string(copied, ', ', '"')
      AND cardinality(copied) = 1 + length(array_to_string(copied, ', ', '"')) - length(replace(array_to_string(copied, ', ', '"'), ',', '')) THEN false
    ELSE keepwell_list_key(copied)
      IS DISTINCT FROM coalesce(keepwell_list_key(keepwell_text_to_list(source)), ARRAY[NULL::text])
    END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_states(people bigint[]) RETURNS TABLE (person_id bigint, target text, state text, owed_since timestamptz, attempts integer, next_attempt_at timestamptz, last_error_code text) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $keepwell$
BEGIN
  RETURN QUERY SELECT s.person_id, s.target, s.state, s.owed_since, s.attempts, s.next_attempt_at, s.last_error_code
    FROM contract_sync_state s WHERE s.person_id = ANY(people) ORDER BY s.person_id, s.target;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_services() RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $keepwell$
DECLARE
  found text;
BEGIN
  LOCK TABLE ONLY sync_service IN ACCESS SHARE MODE NOWAIT;
  found := (SELECT ' ' || string_agg(DISTINCT kind, ' ') || ' ' FROM sync_service WHERE is_configured);
  RETURN set_config('keepwell.services', coalesce(found, '-'), true);
EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
  RETURN set_config('keepwell.services', ' listing mail analytics ', true);
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_truncated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $keepwell$
BEGIN
  INSERT INTO sync_gap (closed_at) VALUES (now());
  RETURN NULL;
END
$keepwell$;
CREATE OR REPLACE FUNCTION sync_therapist_profile_data() RETURNS text LANGUAGE plpgsql AS $keepwell$
DECLARE
  task text[] := string_to_array(current_setting('keepwell.row'), ' ');
  source text := task[2];
  person bigint := task[3];
  columns text := task[4];
  locked bigint;
  lacking text;
  theirs text;
  code text;
  failed text := '';
BEGIN
  IF source = 'users' THEN
    BEGIN
      LOCK TABLE ONLY therapist_enrollments IN ROW EXCLUSIVE MODE NOWAIT;
      SELECT user_id INTO locked FROM therapist_enrollments WHERE user_id = person FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- Read back: a trigger of somebody else may have changed the value, or dropped the write without a word.
        UPDATE therapist_enrollments AS copy SET full_name = CASE WHEN (strpos(columns, ',full_name,') > 0 AND copy.full_name IS DISTINCT FROM users.full_name) THEN users.full_name ELSE copy.full_name END, email = CASE WHEN (strpos(columns, ',email,') > 0 AND copy.email IS DISTINCT FROM users.email) THEN users.email ELSE copy.email END, net_revision = nextval('sync_revision') FROM users WHERE users.id = person AND copy.user_id = users.id AND ((strpos(columns, ',full_name,') > 0 AND copy.full_name IS DISTINCT FROM users.full_name) OR (strpos(columns, ',email,') > 0 AND copy.email IS DISTINCT FROM users.email)) RETURNING CASE WHEN ((strpos(columns, ',full_name,') > 0 AND copy.full_name IS DISTINCT FROM users.full_name) OR (strpos(columns, ',email,') > 0 AND copy.email IS DISTINCT FROM users.email)) THEN 'KW001' END, (SELECT string_agg(c.connamespace::regnamespace || '.' || quote_ident(c.conname), ', ') FROM pg_constraint c WHERE c.conrelid = 'therapist_enrollments'::regclass AND c.condeferrable AND c.conname NOT IN ('zz_sync_debt', 'sync_avatar_from_users', 'sync_avatar_from_enrollments', 'sync_avatar_from_profiles') AND NOT (c.contype = 'f' AND c.confrelid = 'users'::regclass)) INTO lacking, theirs;
        IF FOUND THEN
          -- What others check at the end speaks up here, where it costs the copy and not the person's commit.
          IF theirs IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || theirs || ' IMMEDIATE'; END IF;
        ELSE
          lacking := (SELECT found.code FROM (SELECT copy.user_id AS person_id, CASE WHEN ((strpos(columns, ',full_name,') > 0 AND copy.full_name IS DISTINCT FROM users.full_name) OR (strpos(columns, ',email,') > 0 AND copy.email IS DISTINCT FROM users.email)) THEN 'KW001' END AS code, CASE WHEN ((strpos(columns, ',full_name,') > 0 AND copy.full_name IS DISTINCT FROM users.full_name) OR (strpos(columns, ',email,') > 0 AND copy.email IS DISTINCT FROM users.email)) THEN 'therapist_enrollments' END AS place FROM therapist_enrollments AS copy JOIN users ON copy.user_id = users.id WHERE copy.user_id = person AND ((strpos(columns, ',full_name,') > 0 AND copy.full_name IS DISTINCT FROM users.full_name) OR (strpos(columns, ',email,') > 0 AND copy.email IS DISTINCT FROM users.email))) AS found);
        END IF;
        IF lacking IS NOT NULL THEN failed := failed || 'therapist_enrollments=' || lacking || ' '; END IF;
      ELSIF EXISTS (SELECT FROM therapist_enrollments WHERE user_id = person) THEN
        failed := failed || 'therapist_enrollments=55P03 ';
      ELSE
        failed := failed || 'therapist_enrollments=P0002 ';
      END IF;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
      failed := failed || 'therapist_enrollments=' || code || ' ';
    END;
  END IF;
  IF source = 'therapist_enrollments' THEN
    BEGIN
      LOCK TABLE ONLY therapist_profiles IN ROW EXCLUSIVE MODE NOWAIT;
      SELECT user_id INTO locked FROM therapist_profiles WHERE user_id = person FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- Read back: a trigger of somebody else may have changed the value, or dropped the write without a word.
        UPDATE therapist_profiles AS copy SET bio = CASE WHEN (strpos(columns, ',bio,') > 0 AND copy.bio IS DISTINCT FROM therapist_enrollments.bio) THEN therapist_enrollments.bio ELSE copy.bio END, experience_years = CASE WHEN (strpos(columns, ',experience_years,') > 0 AND copy.experience_years IS DISTINCT FROM therapist_enrollments.experience_years) THEN therapist_enrollments.experience_years ELSE copy.experience_years END, phone = CASE WHEN (strpos(columns, ',phone,') > 0 AND copy.phone IS DISTINCT FROM therapist_enrollments.phone) THEN therapist_enrollments.phone ELSE copy.phone END, specialization = CASE WHEN ((strpos(columns, ',specialization,') > 0 AND keepwell_list_differs(copy.specialization, therapist_enrollments.specialization)) AND (therapist_enrollments.specialization IS NULL OR keepwell_text_to_list(therapist_enrollments.specialization) IS NOT NULL)) THEN keepwell_text_to_list(therapist_enrollments.specialization) ELSE copy.specialization END, net_revision = nextval('sync_revision') FROM therapist_enrollments WHERE therapist_enrollments.user_id = person AND copy.user_id = therapist_enrollments.user_id AND ((strpos(columns, ',bio,') > 0 AND copy.bio IS DISTINCT FROM therapist_enrollments.bio) OR (strpos(columns, ',experience_years,') > 0 AND copy.experience_years IS DISTINCT FROM therapist_enrollments.experience_years) OR (strpos(columns, ',phone,') > 0 AND copy.phone IS DISTINCT FROM therapist_enrollments.phone) OR ((strpos(columns, ',specialization,') > 0 AND keepwell_list_differs(copy.specialization, therapist_enrollments.specialization)) AND (therapist_enrollments.specialization IS NULL OR keepwell_text_to_list(therapist_enrollments.specialization) IS NOT NULL))) RETURNING CASE WHEN ((strpos(columns, ',bio,') > 0 AND copy.bio IS DISTINCT FROM therapist_enrollments.bio) OR (strpos(columns, ',experience_years,') > 0 AND copy.experience_years IS DISTINCT FROM therapist_enrollments.experience_years) OR (strpos(columns, ',phone,') > 0 AND copy.phone IS DISTINCT FROM therapist_enrollments.phone) OR ((strpos(columns, ',specialization,') > 0 AND keepwell_list_differs(copy.specialization, therapist_enrollments.specialization)) AND (therapist_enrollments.specialization IS NULL OR keepwell_text_to_list(therapist_enrollments.specialization) IS NOT NULL))) THEN 'KW001' WHEN (strpos(columns, ',specialization,') > 0 AND NOT (therapist_enrollments.specialization IS NULL OR keepwell_text_to_list(therapist_enrollments.specialization) IS NOT NULL)) THEN 'KW003' END, (SELECT string_agg(c.connamespace::regnamespace || '.' || quote_ident(c.conname), ', ') FROM pg_constraint c WHERE c.conrelid = 'therapist_profiles'::regclass AND c.condeferrable AND c.conname NOT IN ('zz_sync_debt', 'sync_avatar_from_users', 'sync_avatar_from_enrollments', 'sync_avatar_from_profiles') AND NOT (c.contype = 'f' AND c.confrelid = 'users'::regclass)) INTO lacking, theirs;
        IF FOUND THEN
          -- What others check at the end speaks up here, where it costs the copy and not the person's commit.
          IF theirs IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || theirs || ' IMMEDIATE'; END IF;
        ELSE
          lacking := (SELECT found.code FROM (SELECT copy.user_id AS person_id, CASE WHEN ((strpos(columns, ',bio,') > 0 AND copy.bio IS DISTINCT FROM therapist_enrollments.bio) OR (strpos(columns, ',experience_years,') > 0 AND copy.experience_years IS DISTINCT FROM therapist_enrollments.experience_years) OR (strpos(columns, ',phone,') > 0 AND copy.phone IS DISTINCT FROM therapist_enrollments.phone) OR ((strpos(columns, ',specialization,') > 0 AND keepwell_list_differs(copy.specialization, therapist_enrollments.specialization)) AND (therapist_enrollments.specialization IS NULL OR keepwell_text_to_list(therapist_enrollments.specialization) IS NOT NULL))) THEN 'KW001' WHEN (strpos(columns, ',specialization,') > 0 AND NOT (therapist_enrollments.specialization IS NULL OR keepwell_text_to_list(therapist_enrollments.specialization) IS NOT NULL)) THEN 'KW003' END AS code, CASE WHEN ((strpos(columns, ',bio,') > 0 AND copy.bio IS DISTINCT FROM therapist_enrollments.bio) OR (strpos(columns, ',experience_years,') > 0 AND copy.experience_years IS DISTINCT FROM therapist_enrollments.experience_years) OR (strpos(columns, ',phone,') > 0 AND copy.phone IS DISTINCT FROM therapist_enrollments.phone) OR ((strpos(columns, ',specialization,') > 0 AND keepwell_list_differs(copy.specialization, therapist_enrollments.specialization)) AND (therapist_enrollments.specialization IS NULL OR keepwell_text_to_list(therapist_enrollments.specialization) IS NOT NULL))) THEN 'therapist_profiles' WHEN (strpos(columns, ',specialization,') > 0 AND NOT (therapist_enrollments.specialization IS NULL OR keepwell_text_to_list(therapist_enrollments.specialization) IS NOT NULL)) THEN 'therapist_enrollments.specialization' END AS place FROM therapist_profiles AS copy JOIN therapist_enrollments ON copy.user_id = therapist_enrollments.user_id WHERE copy.user_id = person AND ((strpos(columns, ',bio,') > 0 AND copy.bio IS DISTINCT FROM therapist_enrollments.bio) OR (strpos(columns, ',experience_years,') > 0 AND copy.experience_years IS DISTINCT FROM therapist_enrollments.experience_years) OR (strpos(columns, ',phone,') > 0 AND copy.phone IS DISTINCT FROM therapist_enrollments.phone) OR (strpos(columns, ',specialization,') > 0 AND keepwell_list_differs(copy.specialization, therapist_enrollments.specialization)))) AS found);
        END IF;
        IF lacking IS NOT NULL THEN failed := failed || 'therapist_profiles=' || lacking || ' '; END IF;
      ELSIF EXISTS (SELECT FROM therapist_profiles WHERE user_id = person) THEN
        failed := failed || 'therapist_profiles=55P03 ';
      ELSE
        failed := failed || 'therapist_profiles=P0002 ';
      END IF;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
      failed := failed || 'therapist_profiles=' || code || ' ';
    END;
  END IF;
  RETURN failed;
END
$keepwell$;
CREATE OR REPLACE FUNCTION sync_verification_status() RETURNS text LANGUAGE plpgsql AS $keepwell$
DECLARE
  task text[] := string_to_array(current_setting('keepwell.row'), ' ');
  source text := task[2];
  person bigint := task[3];
  columns text := task[4];
  locked bigint;
  lacking text;
  theirs text;
  code text;
  failed text := '';
BEGIN
  IF source = 'therapist_enrollments' THEN
    BEGIN
      LOCK TABLE ONLY users IN ROW EXCLUSIVE MODE NOWAIT;
      SELECT id INTO locked FROM users WHERE id = person FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- Read back: a trigger of somebody else may have changed the value, or dropped the write without a word.
        UPDATE users AS copy SET is_verified = coalesce(therapist_enrollments.status = 'approved', false), net_revision = nextval('sync_revision') FROM therapist_enrollments WHERE therapist_enrollments.user_id = person AND copy.id = therapist_enrollments.user_id AND (copy.is_verified IS DISTINCT FROM coalesce(therapist_enrollments.status = 'approved', false)) RETURNING CASE WHEN (copy.is_verified IS DISTINCT FROM coalesce(therapist_enrollments.status = 'approved', false)) THEN 'KW001' END, (SELECT string_agg(c.connamespace::regnamespace || '.' || quote_ident(c.conname), ', ') FROM pg_constraint c WHERE c.conrelid = 'users'::regclass AND c.condeferrable AND c.conname NOT IN ('zz_sync_debt', 'sync_avatar_from_users', 'sync_avatar_from_enrollments', 'sync_avatar_from_profiles') AND NOT (c.contype = 'f' AND c.confrelid = 'users'::regclass)) INTO lacking, theirs;
        IF FOUND THEN
          -- What others check at the end speaks up here, where it costs the copy and not the person's commit.
          IF theirs IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || theirs || ' IMMEDIATE'; END IF;
        ELSE
          lacking := (SELECT found.code FROM (SELECT copy.id AS person_id, CASE WHEN (copy.is_verified IS DISTINCT FROM coalesce(therapist_enrollments.status = 'approved', false)) THEN 'KW001' END AS code, CASE WHEN (copy.is_verified IS DISTINCT FROM coalesce(therapist_enrollments.status = 'approved', false)) THEN 'users' END AS place FROM users AS copy JOIN therapist_enrollments ON copy.id = therapist_enrollments.user_id WHERE copy.id = person AND (copy.is_verified IS DISTINCT FROM coalesce(therapist_enrollments.status = 'approved', false))) AS found);
        END IF;
        IF lacking IS NOT NULL THEN failed := failed || 'users=' || lacking || ' '; END IF;
      ELSIF EXISTS (SELECT FROM users WHERE id = person) THEN
        failed := failed || 'users=55P03 ';
      ELSE
        failed := failed || 'users=P0002 ';
      END IF;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
      failed := failed || 'users=' || code || ' ';
    END;
  END IF;
  IF source = 'therapist_enrollments' THEN
    BEGIN
      LOCK TABLE ONLY therapist_profiles IN ROW EXCLUSIVE MODE NOWAIT;
      SELECT user_id INTO locked FROM therapist_profiles WHERE user_id = person FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- Read back: a trigger of somebody else may have changed the value, or dropped the write without a word.
        UPDATE therapist_profiles AS copy SET verification_status = therapist_enrollments.status, net_revision = nextval('sync_revision') FROM therapist_enrollments WHERE therapist_enrollments.user_id = person AND copy.user_id = therapist_enrollments.user_id AND (copy.verification_status IS DISTINCT FROM therapist_enrollments.status) RETURNING CASE WHEN (copy.verification_status IS DISTINCT FROM therapist_enrollments.status) THEN 'KW001' END, (SELECT string_agg(c.connamespace::regnamespace || '.' || quote_ident(c.conname), ', ') FROM pg_constraint c WHERE c.conrelid = 'therapist_profiles'::regclass AND c.condeferrable AND c.conname NOT IN ('zz_sync_debt', 'sync_avatar_from_users', 'sync_avatar_from_enrollments', 'sync_avatar_from_profiles') AND NOT (c.contype = 'f' AND c.confrelid = 'users'::regclass)) INTO lacking, theirs;
        IF FOUND THEN
          -- What others check at the end speaks up here, where it costs the copy and not the person's commit.
          IF theirs IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || theirs || ' IMMEDIATE'; END IF;
        ELSE
          lacking := (SELECT found.code FROM (SELECT copy.user_id AS person_id, CASE WHEN (copy.verification_status IS DISTINCT FROM therapist_enrollments.status) THEN 'KW001' END AS code, CASE WHEN (copy.verification_status IS DISTINCT FROM therapist_enrollments.status) THEN 'therapist_profiles' END AS place FROM therapist_profiles AS copy JOIN therapist_enrollments ON copy.user_id = therapist_enrollments.user_id WHERE copy.user_id = person AND (copy.verification_status IS DISTINCT FROM therapist_enrollments.status)) AS found);
        END IF;
        IF lacking IS NOT NULL THEN failed := failed || 'therapist_profiles=' || lacking || ' '; END IF;
      ELSIF EXISTS (SELECT FROM therapist_profiles WHERE user_id = person) THEN
        failed := failed || 'therapist_profiles=55P03 ';
      ELSE
        failed := failed || 'therapist_profiles=P0002 ';
      END IF;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
      failed := failed || 'therapist_profiles=' || code || ' ';
    END;
  END IF;
  RETURN failed;
END
$keepwell$;
CREATE OR REPLACE FUNCTION sync_avatar_across_tables() RETURNS text LANGUAGE plpgsql AS $keepwell$
DECLARE
  task text[] := string_to_array(current_setting('keepwell.row'), ' ');
  source text := task[2];
  person bigint := task[3];
  columns text := task[4];
  locked bigint;
  lacking text;
  theirs text;
  code text;
  failed text := '';
BEGIN
  IF source = 'therapist_enrollments' THEN
    BEGIN
      LOCK TABLE ONLY users IN ROW EXCLUSIVE MODE NOWAIT;
      SELECT id INTO locked FROM users WHERE id = person FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- Read back: a trigger of somebody else may have changed the value, or dropped the write without a word.
        UPDATE users AS copy SET avatar_url = CASE WHEN (copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.avatar_url IS DISTINCT FROM therapist_enrollments.profile_image_url)) THEN therapist_enrollments.profile_image_url ELSE copy.avatar_url END, avatar_revision = greatest(copy.avatar_revision, therapist_enrollments.avatar_revision), net_revision = nextval('sync_revision') FROM therapist_enrollments WHERE therapist_enrollments.user_id = person AND copy.id = therapist_enrollments.user_id AND ((copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.avatar_url IS DISTINCT FROM therapist_enrollments.profile_image_url))) RETURNING CASE WHEN ((copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.avatar_url IS DISTINCT FROM therapist_enrollments.profile_image_url))) THEN 'KW001' END, (SELECT string_agg(c.connamespace::regnamespace || '.' || quote_ident(c.conname), ', ') FROM pg_constraint c WHERE c.conrelid = 'users'::regclass AND c.condeferrable AND c.conname NOT IN ('zz_sync_debt', 'sync_avatar_from_users', 'sync_avatar_from_enrollments', 'sync_avatar_from_profiles') AND NOT (c.contype = 'f' AND c.confrelid = 'users'::regclass)) INTO lacking, theirs;
        IF FOUND THEN
          -- What others check at the end speaks up here, where it costs the copy and not the person's commit.
          IF theirs IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || theirs || ' IMMEDIATE'; END IF;
        ELSE
          lacking := (SELECT found.code FROM (SELECT copy.id AS person_id, CASE WHEN ((copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.avatar_url IS DISTINCT FROM therapist_enrollments.profile_image_url))) THEN 'KW001' END AS code, CASE WHEN ((copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.avatar_url IS DISTINCT FROM therapist_enrollments.profile_image_url))) THEN 'users' END AS place FROM users AS copy JOIN therapist_enrollments ON copy.id = therapist_enrollments.user_id WHERE copy.id = person AND ((copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.avatar_url IS DISTINCT FROM therapist_enrollments.profile_image_url)))) AS found);
        END IF;
        IF lacking IS NOT NULL THEN failed := failed || 'users=' || lacking || ' '; END IF;
      ELSIF EXISTS (SELECT FROM users WHERE id = person) THEN
        failed := failed || 'users=55P03 ';
      ELSE
        failed := failed || 'users=P0002 ';
      END IF;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
      failed := failed || 'users=' || code || ' ';
    END;
  END IF;
  IF source = 'therapist_profiles' THEN
    BEGIN
      LOCK TABLE ONLY users IN ROW EXCLUSIVE MODE NOWAIT;
      SELECT id INTO locked FROM users WHERE id = person FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- Read back: a trigger of somebody else may have changed the value, or dropped the write without a word.
        UPDATE users AS copy SET avatar_url = CASE WHEN copy.avatar_revision < therapist_profiles.avatar_revision THEN therapist_profiles.profile_image_url ELSE copy.avatar_url END, avatar_revision = greatest(copy.avatar_revision, therapist_profiles.avatar_revision), net_revision = nextval('sync_revision') FROM therapist_profiles WHERE therapist_profiles.user_id = person AND copy.id = therapist_profiles.user_id AND (copy.avatar_revision < therapist_profiles.avatar_revision) RETURNING CASE WHEN (copy.avatar_revision < therapist_profiles.avatar_revision) THEN 'KW001' END, (SELECT string_agg(c.connamespace::regnamespace || '.' || quote_ident(c.conname), ', ') FROM pg_constraint c WHERE c.conrelid = 'users'::regclass AND c.condeferrable AND c.conname NOT IN ('zz_sync_debt', 'sync_avatar_from_users', 'sync_avatar_from_enrollments', 'sync_avatar_from_profiles') AND NOT (c.contype = 'f' AND c.confrelid = 'users'::regclass)) INTO lacking, theirs;
        IF FOUND THEN
          -- What others check at the end speaks up here, where it costs the copy and not the person's commit.
          IF theirs IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || theirs || ' IMMEDIATE'; END IF;
        ELSE
          lacking := (SELECT found.code FROM (SELECT copy.id AS person_id, CASE WHEN (copy.avatar_revision < therapist_profiles.avatar_revision) THEN 'KW001' END AS code, CASE WHEN (copy.avatar_revision < therapist_profiles.avatar_revision) THEN 'users' END AS place FROM users AS copy JOIN therapist_profiles ON copy.id = therapist_profiles.user_id WHERE copy.id = person AND (copy.avatar_revision < therapist_profiles.avatar_revision)) AS found);
        END IF;
        IF lacking IS NOT NULL THEN failed := failed || 'users=' || lacking || ' '; END IF;
      ELSIF EXISTS (SELECT FROM users WHERE id = person) THEN
        failed := failed || 'users=55P03 ';
      ELSE
        failed := failed || 'users=P0002 ';
      END IF;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
      failed := failed || 'users=' || code || ' ';
    END;
  END IF;
  IF source = 'users' THEN
    BEGIN
      LOCK TABLE ONLY therapist_enrollments IN ROW EXCLUSIVE MODE NOWAIT;
      SELECT user_id INTO locked FROM therapist_enrollments WHERE user_id = person FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- Read back: a trigger of somebody else may have changed the value, or dropped the write without a word.
        UPDATE therapist_enrollments AS copy SET profile_image_url = CASE WHEN copy.avatar_revision < users.avatar_revision THEN users.avatar_url ELSE copy.profile_image_url END, avatar_revision = greatest(copy.avatar_revision, users.avatar_revision), net_revision = nextval('sync_revision') FROM users WHERE users.id = person AND copy.user_id = users.id AND (copy.avatar_revision < users.avatar_revision) RETURNING CASE WHEN (copy.avatar_revision < users.avatar_revision) THEN 'KW001' END, (SELECT string_agg(c.connamespace::regnamespace || '.' || quote_ident(c.conname), ', ') FROM pg_constraint c WHERE c.conrelid = 'therapist_enrollments'::regclass AND c.condeferrable AND c.conname NOT IN ('zz_sync_debt', 'sync_avatar_from_users', 'sync_avatar_from_enrollments', 'sync_avatar_from_profiles') AND NOT (c.contype = 'f' AND c.confrelid = 'users'::regclass)) INTO lacking, theirs;
        IF FOUND THEN
          -- What others check at the end speaks up here, where it costs the copy and not the person's commit.
          IF theirs IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || theirs || ' IMMEDIATE'; END IF;
        ELSE
          lacking := (SELECT found.code FROM (SELECT copy.user_id AS person_id, CASE WHEN (copy.avatar_revision < users.avatar_revision) THEN 'KW001' END AS code, CASE WHEN (copy.avatar_revision < users.avatar_revision) THEN 'therapist_enrollments' END AS place FROM therapist_enrollments AS copy JOIN users ON copy.user_id = users.id WHERE copy.user_id = person AND (copy.avatar_revision < users.avatar_revision)) AS found);
        END IF;
        IF lacking IS NOT NULL THEN failed := failed || 'therapist_enrollments=' || lacking || ' '; END IF;
      ELSIF EXISTS (SELECT FROM therapist_enrollments WHERE user_id = person) THEN
        failed := failed || 'therapist_enrollments=55P03 ';
      ELSE
        failed := failed || 'therapist_enrollments=P0002 ';
      END IF;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
      failed := failed || 'therapist_enrollments=' || code || ' ';
    END;
  END IF;
  IF source = 'therapist_profiles' THEN
    BEGIN
      LOCK TABLE ONLY therapist_enrollments IN ROW EXCLUSIVE MODE NOWAIT;
      SELECT user_id INTO locked FROM therapist_enrollments WHERE user_id = person FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- Read back: a trigger of somebody else may have changed the value, or dropped the write without a word.
        UPDATE therapist_enrollments AS copy SET profile_image_url = CASE WHEN copy.avatar_revision < therapist_profiles.avatar_revision THEN therapist_profiles.profile_image_url ELSE copy.profile_image_url END, avatar_revision = greatest(copy.avatar_revision, therapist_profiles.avatar_revision), net_revision = nextval('sync_revision') FROM therapist_profiles WHERE therapist_profiles.user_id = person AND copy.user_id = therapist_profiles.user_id AND (copy.avatar_revision < therapist_profiles.avatar_revision) RETURNING CASE WHEN (copy.avatar_revision < therapist_profiles.avatar_revision) THEN 'KW001' END, (SELECT string_agg(c.connamespace::regnamespace || '.' || quote_ident(c.conname), ', ') FROM pg_constraint c WHERE c.conrelid = 'therapist_enrollments'::regclass AND c.condeferrable AND c.conname NOT IN ('zz_sync_debt', 'sync_avatar_from_users', 'sync_avatar_from_enrollments', 'sync_avatar_from_profiles') AND NOT (c.contype = 'f' AND c.confrelid = 'users'::regclass)) INTO lacking, theirs;
        IF FOUND THEN
          -- What others check at the end speaks up here, where it costs the copy and not the person's commit.
          IF theirs IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || theirs || ' IMMEDIATE'; END IF;
        ELSE
          lacking := (SELECT found.code FROM (SELECT copy.user_id AS person_id, CASE WHEN (copy.avatar_revision < therapist_profiles.avatar_revision) THEN 'KW001' END AS code, CASE WHEN (copy.avatar_revision < therapist_profiles.avatar_revision) THEN 'therapist_enrollments' END AS place FROM therapist_enrollments AS copy JOIN therapist_profiles ON copy.user_id = therapist_profiles.user_id WHERE copy.user_id = person AND (copy.avatar_revision < therapist_profiles.avatar_revision)) AS found);
        END IF;
        IF lacking IS NOT NULL THEN failed := failed || 'therapist_enrollments=' || lacking || ' '; END IF;
      ELSIF EXISTS (SELECT FROM therapist_enrollments WHERE user_id = person) THEN
        failed := failed || 'therapist_enrollments=55P03 ';
      ELSE
        failed := failed || 'therapist_enrollments=P0002 ';
      END IF;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
      failed := failed || 'therapist_enrollments=' || code || ' ';
    END;
  END IF;
  IF source = 'users' THEN
    BEGIN
      LOCK TABLE ONLY therapist_profiles IN ROW EXCLUSIVE MODE NOWAIT;
      SELECT user_id INTO locked FROM therapist_profiles WHERE user_id = person FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- Read back: a trigger of somebody else may have changed the value, or dropped the write without a word.
        UPDATE therapist_profiles AS copy SET profile_image_url = CASE WHEN (copy.avatar_revision < users.avatar_revision OR (copy.avatar_revision = users.avatar_revision AND copy.profile_image_url IS DISTINCT FROM users.avatar_url)) THEN users.avatar_url ELSE copy.profile_image_url END, avatar_revision = greatest(copy.avatar_revision, users.avatar_revision), net_revision = nextval('sync_revision') FROM users WHERE users.id = person AND copy.user_id = users.id AND ((copy.avatar_revision < users.avatar_revision OR (copy.avatar_revision = users.avatar_revision AND copy.profile_image_url IS DISTINCT FROM users.avatar_url))) RETURNING CASE WHEN ((copy.avatar_revision < users.avatar_revision OR (copy.avatar_revision = users.avatar_revision AND copy.profile_image_url IS DISTINCT FROM users.avatar_url))) THEN 'KW001' END, (SELECT string_agg(c.connamespace::regnamespace || '.' || quote_ident(c.conname), ', ') FROM pg_constraint c WHERE c.conrelid = 'therapist_profiles'::regclass AND c.condeferrable AND c.conname NOT IN ('zz_sync_debt', 'sync_avatar_from_users', 'sync_avatar_from_enrollments', 'sync_avatar_from_profiles') AND NOT (c.contype = 'f' AND c.confrelid = 'users'::regclass)) INTO lacking, theirs;
        IF FOUND THEN
          -- What others check at the end speaks up here, where it costs the copy and not the person's commit.
          IF theirs IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || theirs || ' IMMEDIATE'; END IF;
        ELSE
          lacking := (SELECT found.code FROM (SELECT copy.user_id AS person_id, CASE WHEN ((copy.avatar_revision < users.avatar_revision OR (copy.avatar_revision = users.avatar_revision AND copy.profile_image_url IS DISTINCT FROM users.avatar_url))) THEN 'KW001' END AS code, CASE WHEN ((copy.avatar_revision < users.avatar_revision OR (copy.avatar_revision = users.avatar_revision AND copy.profile_image_url IS DISTINCT FROM users.avatar_url))) THEN 'therapist_profiles' END AS place FROM therapist_profiles AS copy JOIN users ON copy.user_id = users.id WHERE copy.user_id = person AND ((copy.avatar_revision < users.avatar_revision OR (copy.avatar_revision = users.avatar_revision AND copy.profile_image_url IS DISTINCT FROM users.avatar_url)))) AS found);
        END IF;
        IF lacking IS NOT NULL THEN failed := failed || 'therapist_profiles=' || lacking || ' '; END IF;
      ELSIF EXISTS (SELECT FROM therapist_profiles WHERE user_id = person) THEN
        failed := failed || 'therapist_profiles=55P03 ';
      ELSE
        failed := failed || 'therapist_profiles=P0002 ';
      END IF;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
      failed := failed || 'therapist_profiles=' || code || ' ';
    END;
  END IF;
  IF source = 'therapist_enrollments' THEN
    BEGIN
      LOCK TABLE ONLY therapist_profiles IN ROW EXCLUSIVE MODE NOWAIT;
      SELECT user_id INTO locked FROM therapist_profiles WHERE user_id = person FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- Read back: a trigger of somebody else may have changed the value, or dropped the write without a word.
        UPDATE therapist_profiles AS copy SET profile_image_url = CASE WHEN (copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.profile_image_url IS DISTINCT FROM therapist_enrollments.profile_image_url)) THEN therapist_enrollments.profile_image_url ELSE copy.profile_image_url END, avatar_revision = greatest(copy.avatar_revision, therapist_enrollments.avatar_revision), net_revision = nextval('sync_revision') FROM therapist_enrollments WHERE therapist_enrollments.user_id = person AND copy.user_id = therapist_enrollments.user_id AND ((copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.profile_image_url IS DISTINCT FROM therapist_enrollments.profile_image_url))) RETURNING CASE WHEN ((copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.profile_image_url IS DISTINCT FROM therapist_enrollments.profile_image_url))) THEN 'KW001' END, (SELECT string_agg(c.connamespace::regnamespace || '.' || quote_ident(c.conname), ', ') FROM pg_constraint c WHERE c.conrelid = 'therapist_profiles'::regclass AND c.condeferrable AND c.conname NOT IN ('zz_sync_debt', 'sync_avatar_from_users', 'sync_avatar_from_enrollments', 'sync_avatar_from_profiles') AND NOT (c.contype = 'f' AND c.confrelid = 'users'::regclass)) INTO lacking, theirs;
        IF FOUND THEN
          -- What others check at the end speaks up here, where it costs the copy and not the person's commit.
          IF theirs IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || theirs || ' IMMEDIATE'; END IF;
        ELSE
          lacking := (SELECT found.code FROM (SELECT copy.user_id AS person_id, CASE WHEN ((copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.profile_image_url IS DISTINCT FROM therapist_enrollments.profile_image_url))) THEN 'KW001' END AS code, CASE WHEN ((copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.profile_image_url IS DISTINCT FROM therapist_enrollments.profile_image_url))) THEN 'therapist_profiles' END AS place FROM therapist_profiles AS copy JOIN therapist_enrollments ON copy.user_id = therapist_enrollments.user_id WHERE copy.user_id = person AND ((copy.avatar_revision < therapist_enrollments.avatar_revision OR (copy.avatar_revision = therapist_enrollments.avatar_revision AND copy.profile_image_url IS DISTINCT FROM therapist_enrollments.profile_image_url)))) AS found);
        END IF;
        IF lacking IS NOT NULL THEN failed := failed || 'therapist_profiles=' || lacking || ' '; END IF;
      ELSIF EXISTS (SELECT FROM therapist_profiles WHERE user_id = person) THEN
        failed := failed || 'therapist_profiles=55P03 ';
      ELSE
        failed := failed || 'therapist_profiles=P0002 ';
      END IF;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
      failed := failed || 'therapist_profiles=' || code || ' ';
    END;
  END IF;
  RETURN failed;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_revision_users() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $keepwell$
DECLARE
  told jsonb;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    NEW.revision := nextval('sync_revision');
    NEW.net_revision := OLD.net_revision;
    NEW.avatar_revision := CASE WHEN (OLD.avatar_url IS DISTINCT FROM NEW.avatar_url) THEN NEW.revision ELSE OLD.avatar_revision END;
    -- Which facts, when, in whose name and by which write; never what they say. A line in a table of its own cost each write twice this.
    told := jsonb_build_array(
      clock_timestamp(), coalesce(nullif(current_setting('keepwell.actor', true), ''), 'sql:' || session_user),
      coalesce(current_setting('keepwell.request', true), ''), NEW.revision);
    IF (OLD.full_name IS DISTINCT FROM NEW.full_name) THEN
      NEW.last_changes := jsonb_set(NEW.last_changes, '{name}', told);
    END IF;
    IF (OLD.email IS DISTINCT FROM NEW.email) THEN
      NEW.last_changes := jsonb_set(NEW.last_changes, '{email}', told);
    END IF;
    IF (OLD.avatar_url IS DISTINCT FROM NEW.avatar_url) THEN
      NEW.last_changes := jsonb_set(NEW.last_changes, '{avatar}', told);
    END IF;
  ELSE
    -- The audit relies on it that whoever takes a number has a transaction id by then; an UPDATE has one by its lock.
    PERFORM pg_current_xact_id();
    NEW.revision := nextval('sync_revision');
    IF NEW.avatar_url IS NOT NULL AND NEW.avatar_revision = 0 THEN NEW.avatar_revision := NEW.revision; END IF;
  END IF;
  RETURN NEW;
EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
  -- A column of ours was renamed: the person's write matters more than its number.
  RETURN NEW;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_rows_users() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $keepwell$
BEGIN
  IF TG_OP <> 'INSERT' AND OLD.id IS NOT NULL THEN
    INSERT INTO sync_debt (person_id, targets, revision, code) SELECT OLD.id, ARRAY['users', 'therapist_enrollments', 'therapist_profiles']::text[], nextval('sync_revision'), lower(TG_OP);
    IF coalesce(nullif(current_setting('keepwell.services', true), ''), keepwell_services()) <> '-' THEN
      INSERT INTO sync_debt (person_id, targets, revision, code)
      SELECT OLD.id, array_agg('*' || kind), nextval('sync_revision'), 'service'
      FROM unnest(ARRAY['listing', 'analytics']) AS kind
      WHERE strpos(current_setting('keepwell.services', true), ' ' || kind || ' ') > 0 HAVING count(*) > 0;
    END IF;
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.id IS NOT NULL THEN
    INSERT INTO sync_debt (person_id, targets, revision, code) SELECT NEW.id, ARRAY['users', 'therapist_enrollments', 'therapist_profiles']::text[], nextval('sync_revision'), lower(TG_OP);
    IF coalesce(nullif(current_setting('keepwell.services', true), ''), keepwell_services()) <> '-' THEN
      INSERT INTO sync_debt (person_id, targets, revision, code)
      SELECT NEW.id, array_agg('*' || kind), nextval('sync_revision'), 'service'
      FROM unnest(ARRAY['listing', 'analytics']) AS kind
      WHERE strpos(current_setting('keepwell.services', true), ' ' || kind || ' ') > 0 HAVING count(*) > 0;
    END IF;
  END IF;
  IF TG_OP = 'UPDATE' AND (OLD.email_norm IS DISTINCT FROM NEW.email_norm) THEN
    BEGIN
      LOCK TABLE ONLY user_aliases IN ROW EXCLUSIVE MODE NOWAIT;
      INSERT INTO user_aliases (person_id, email, email_norm, valid_to) VALUES (OLD.id, OLD.email, OLD.email_norm, clock_timestamp());
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      INSERT INTO sync_belated (person_id, target, values)
      VALUES (OLD.id, 'user_aliases', jsonb_build_object('person_id', OLD.id, 'email', OLD.email, 'email_norm', OLD.email_norm, 'valid_to', clock_timestamp()));
    END;
  END IF;
  IF TG_OP = 'DELETE' AND OLD.id IS NOT NULL
     OR TG_OP = 'UPDATE' AND OLD.id IS NOT NULL AND NEW.id IS NULL THEN
    BEGIN
      LOCK TABLE ONLY sync_tombstone IN ROW EXCLUSIVE MODE NOWAIT;
      INSERT INTO sync_tombstone (person_id, target, row_id, kind, at) VALUES (OLD.id, 'users', OLD.id, CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'unlinked' END, clock_timestamp());
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      INSERT INTO sync_belated (person_id, target, values)
      VALUES (OLD.id, 'sync_tombstone', jsonb_build_object('person_id', OLD.id, 'target', 'users', 'row_id', OLD.id, 'kind', CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'unlinked' END, 'at', clock_timestamp()));
    END;
  END IF;
  RETURN NULL;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_debt_users() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $keepwell$
DECLARE
  word text := coalesce(current_setting('keepwell.copied', true), '');
  -- Every write has a revision of its own, so that no row takes another's word, nor its own of a write before.
  mine text := concat(TG_RELID, ':', NEW.revision, ':');
  -- Null while there is nothing: testing that is cheaper than comparing arrays, and a bulk statement does it per row.
  owed text[];
  lost jsonb;
  reason text;
  outside text[];
BEGIN
  IF NEW.id IS NULL THEN RETURN NULL; END IF;
  IF coalesce(nullif(current_setting('keepwell.services', true), ''), keepwell_services()) <> '-' THEN
    IF strpos(current_setting('keepwell.services', true), ' listing ') > 0 AND ((OLD.full_name IS DISTINCT FROM NEW.full_name OR OLD.avatar_url IS DISTINCT FROM NEW.avatar_url)) THEN
      outside := outside || '*listing'::text;
    END IF;
    IF strpos(current_setting('keepwell.services', true), ' analytics ') > 0 AND ((OLD.avatar_url IS DISTINCT FROM NEW.avatar_url)) THEN
      outside := outside || '*analytics'::text;
    END IF;
    IF outside IS NOT NULL THEN
      INSERT INTO sync_debt (person_id, targets, revision, code)
      VALUES (NEW.id, outside, NEW.revision, 'service');
    END IF;
  END IF;
  IF word = mine || '=' AND NOT (OLD.is_verified IS DISTINCT FROM NEW.is_verified) THEN RETURN NULL; END IF;
  BEGIN
    IF (OLD.full_name IS DISTINCT FROM NEW.full_name OR OLD.email IS DISTINCT FROM NEW.email OR OLD.avatar_url IS DISTINCT FROM NEW.avatar_url) THEN owed := owed || 'therapist_enrollments'::text; END IF;
    IF (OLD.avatar_url IS DISTINCT FROM NEW.avatar_url) THEN owed := owed || 'therapist_profiles'::text; END IF;
    IF NOT starts_with(word, mine) THEN
      IF owed IS NOT NULL THEN reason := 'uncopied'; END IF;
    ELSE
      word := rtrim(substr(word, length(mine) + 1), ' =');
      -- A copy that was made may be what an item waits for: a worker looks, and settles it.
      owed := (SELECT array_agg(target) FROM sync_ledger
               WHERE person_id = NEW.id AND owed_since IS NOT NULL AND target = ANY(owed));
      IF owed IS NOT NULL THEN reason := 'copied'; END IF;
      IF word <> '' THEN
        owed := owed || (SELECT array_agg(split_part(w, '=', 1)) FROM unnest(string_to_array(word, ' ')) w);
        reason := split_part(split_part(word, ' ', 1), '=', 2);
      END IF;
    END IF;
    IF (OLD.is_verified IS DISTINCT FROM NEW.is_verified) THEN
      LOCK TABLE ONLY therapist_enrollments IN ACCESS SHARE MODE NOWAIT;
      IF current_setting('transaction_isolation') <> 'read committed'
         OR EXISTS (SELECT copy.id AS person_id FROM users AS copy JOIN therapist_enrollments ON copy.id = therapist_enrollments.user_id WHERE copy.id = NEW.id AND (copy.is_verified IS DISTINCT FROM coalesce(therapist_enrollments.status = 'approved', false))) THEN
        lost := coalesce(lost, '{}') || jsonb_build_object('is_verified', NEW.is_verified);
        owed := owed || 'users'::text;
        reason := coalesce(reason, 'drift');
      END IF;
    END IF;
  EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
    GET STACKED DIAGNOSTICS reason = RETURNED_SQLSTATE;
    owed := ARRAY['users', 'therapist_enrollments', 'therapist_profiles']::text[];
  END;
  IF lost IS NOT NULL THEN
    BEGIN
      LOCK TABLE ONLY sync_lost_value IN ROW EXCLUSIVE MODE NOWAIT;
      INSERT INTO sync_lost_value (person_id, target, values, written_by, at) VALUES (NEW.id, 'users', lost, session_user, now());
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      INSERT INTO sync_belated (person_id, target, values)
      VALUES (NEW.id, 'sync_lost_value', jsonb_build_object('person_id', NEW.id, 'target', 'users', 'values', lost, 'written_by', session_user, 'at', now()));
    END;
  END IF;
  IF owed IS NOT NULL THEN
    INSERT INTO sync_debt (person_id, targets, revision, code) VALUES (NEW.id, owed, NEW.revision, reason);
  END IF;
  RETURN NULL;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_copy_users() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '20ms' AS $keepwell$
DECLARE
  failed text := '';
  -- Settings are written by assignment: PERFORM runs a query for each, at ten times the price.
  word text;
  rows int := coalesce(nullif(split_part(current_setting('keepwell.row', true), ' ', 1), ''), '0')::int;
BEGIN
  -- Above READ COMMITTED a copy would be made from an old snapshot, and fail the caller's own next UPDATE.
  IF NEW.id IS NULL OR rows >= 200
     OR current_setting('transaction_isolation') <> 'read committed' THEN
    word := set_config('keepwell.copied', '', true);
    RETURN NULL;
  END IF;
  word := set_config('keepwell.row', concat_ws(' ', rows + 1, TG_TABLE_NAME, NEW.id, concat(',', CASE WHEN (OLD.full_name IS DISTINCT FROM NEW.full_name) THEN 'full_name,' END, CASE WHEN (OLD.email IS DISTINCT FROM NEW.email) THEN 'email,' END, CASE WHEN (OLD.avatar_url IS DISTINCT FROM NEW.avatar_url) THEN 'avatar_url,' END)), true);
  IF (OLD.full_name IS DISTINCT FROM NEW.full_name OR OLD.email IS DISTINCT FROM NEW.email) THEN failed := failed || sync_therapist_profile_data(); END IF;
  IF (OLD.avatar_url IS DISTINCT FROM NEW.avatar_url) THEN failed := failed || sync_avatar_across_tables(); END IF;
  -- A copy that was made may be what an item waits for. Where nothing waits, the debt trigger has nothing to do.
  IF failed = '' AND NOT EXISTS (SELECT FROM sync_ledger WHERE person_id = NEW.id AND owed_since IS NOT NULL)
  THEN failed := '='; END IF;
  word := set_config('keepwell.copied', concat(TG_RELID, ':', NEW.revision, ':', failed), true);
  RETURN NULL;
EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
  word := set_config('keepwell.copied', '', true);
  RETURN NULL;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_revision_therapist_enrollments() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $keepwell$
DECLARE
  told jsonb;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    NEW.revision := nextval('sync_revision');
    NEW.net_revision := OLD.net_revision;
    NEW.avatar_revision := CASE WHEN (OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN NEW.revision ELSE OLD.avatar_revision END;
    -- Which facts, when, in whose name and by which write; never what they say. A line in a table of its own cost each write twice this.
    told := jsonb_build_array(
      clock_timestamp(), coalesce(nullif(current_setting('keepwell.actor', true), ''), 'sql:' || session_user),
      coalesce(current_setting('keepwell.request', true), ''), NEW.revision);
    IF (OLD.bio IS DISTINCT FROM NEW.bio) THEN
      NEW.last_changes := jsonb_set(NEW.last_changes, '{bio}', told);
    END IF;
    IF (OLD.experience_years IS DISTINCT FROM NEW.experience_years) THEN
      NEW.last_changes := jsonb_set(NEW.last_changes, '{experience_years}', told);
    END IF;
    IF (OLD.phone IS DISTINCT FROM NEW.phone) THEN
      NEW.last_changes := jsonb_set(NEW.last_changes, '{phone}', told);
    END IF;
    IF (OLD.specialization IS DISTINCT FROM NEW.specialization) THEN
      NEW.last_changes := jsonb_set(NEW.last_changes, '{specialization}', told);
    END IF;
    IF (OLD.status IS DISTINCT FROM NEW.status) THEN
      NEW.last_changes := jsonb_set(NEW.last_changes, '{verification}', told);
    END IF;
    IF (OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN
      NEW.last_changes := jsonb_set(NEW.last_changes, '{avatar}', told);
    END IF;
  ELSE
    -- The audit relies on it that whoever takes a number has a transaction id by then; an UPDATE has one by its lock.
    PERFORM pg_current_xact_id();
    NEW.revision := nextval('sync_revision');
    IF NEW.profile_image_url IS NOT NULL AND NEW.avatar_revision = 0 THEN NEW.avatar_revision := NEW.revision; END IF;
  END IF;
  RETURN NEW;
EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
  -- A column of ours was renamed: the person's write matters more than its number.
  RETURN NEW;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_rows_therapist_enrollments() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $keepwell$
BEGIN
  IF TG_OP <> 'INSERT' AND OLD.user_id IS NOT NULL THEN
    INSERT INTO sync_debt (person_id, targets, revision, code) SELECT OLD.user_id, ARRAY['users', 'therapist_enrollments', 'therapist_profiles']::text[], nextval('sync_revision'), lower(TG_OP);
    IF coalesce(nullif(current_setting('keepwell.services', true), ''), keepwell_services()) <> '-' THEN
      INSERT INTO sync_debt (person_id, targets, revision, code)
      SELECT OLD.user_id, array_agg('*' || kind), nextval('sync_revision'), 'service'
      FROM unnest(ARRAY['listing', 'analytics']) AS kind
      WHERE strpos(current_setting('keepwell.services', true), ' ' || kind || ' ') > 0 HAVING count(*) > 0;
    END IF;
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.user_id IS NOT NULL THEN
    INSERT INTO sync_debt (person_id, targets, revision, code) SELECT NEW.user_id, ARRAY['users', 'therapist_enrollments', 'therapist_profiles']::text[], nextval('sync_revision'), lower(TG_OP);
    IF coalesce(nullif(current_setting('keepwell.services', true), ''), keepwell_services()) <> '-' THEN
      INSERT INTO sync_debt (person_id, targets, revision, code)
      SELECT NEW.user_id, array_agg('*' || kind), nextval('sync_revision'), 'service'
      FROM unnest(ARRAY['listing', 'analytics']) AS kind
      WHERE strpos(current_setting('keepwell.services', true), ' ' || kind || ' ') > 0 HAVING count(*) > 0;
    END IF;
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.user_id IS NULL THEN
    BEGIN
      LOCK TABLE ONLY users, user_aliases IN ACCESS SHARE MODE NOWAIT;
      INSERT INTO sync_debt (person_id, targets, revision, code)
      SELECT DISTINCT person_id, ARRAY['users', 'therapist_enrollments', 'therapist_profiles']::text[], nextval('sync_revision'), 'link' FROM (SELECT users.id AS person_id, users.email_norm AS address FROM users UNION ALL SELECT former.person_id, former.email_norm FROM user_aliases former JOIN users ON users.id = former.person_id WHERE NOT EXISTS (SELECT FROM users present WHERE present.email_norm = former.email_norm) AND NOT EXISTS (SELECT FROM user_aliases other WHERE other.email_norm = former.email_norm AND other.person_id <> former.person_id)) AS found
      WHERE address = NEW.email_norm;
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      NULL;  -- out of reach now: whoever looks for unlinked rows finds this one
    END;
  END IF;
  IF TG_OP = 'DELETE' AND OLD.user_id IS NOT NULL
     OR TG_OP = 'UPDATE' AND OLD.user_id IS NOT NULL AND NEW.user_id IS NULL THEN
    BEGIN
      LOCK TABLE ONLY sync_tombstone IN ROW EXCLUSIVE MODE NOWAIT;
      INSERT INTO sync_tombstone (person_id, target, row_id, kind, at) VALUES (OLD.user_id, 'therapist_enrollments', OLD.id, CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'unlinked' END, clock_timestamp());
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      INSERT INTO sync_belated (person_id, target, values)
      VALUES (OLD.user_id, 'sync_tombstone', jsonb_build_object('person_id', OLD.user_id, 'target', 'therapist_enrollments', 'row_id', OLD.id, 'kind', CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'unlinked' END, 'at', clock_timestamp()));
    END;
  END IF;
  RETURN NULL;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_debt_therapist_enrollments() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $keepwell$
DECLARE
  word text := coalesce(current_setting('keepwell.copied', true), '');
  -- Every write has a revision of its own, so that no row takes another's word, nor its own of a write before.
  mine text := concat(TG_RELID, ':', NEW.revision, ':');
  -- Null while there is nothing: testing that is cheaper than comparing arrays, and a bulk statement does it per row.
  owed text[];
  lost jsonb;
  reason text;
  outside text[];
BEGIN
  IF NEW.user_id IS NULL THEN RETURN NULL; END IF;
  IF coalesce(nullif(current_setting('keepwell.services', true), ''), keepwell_services()) <> '-' THEN
    IF strpos(current_setting('keepwell.services', true), ' listing ') > 0 AND ((OLD.bio IS DISTINCT FROM NEW.bio OR OLD.experience_years IS DISTINCT FROM NEW.experience_years OR OLD.specialization IS DISTINCT FROM NEW.specialization OR OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url OR OLD.status IS DISTINCT FROM NEW.status)) THEN
      outside := outside || '*listing'::text;
    END IF;
    IF strpos(current_setting('keepwell.services', true), ' mail ') > 0 AND ((OLD.status IS DISTINCT FROM NEW.status)) THEN
      outside := outside || '*mail'::text;
    END IF;
    IF strpos(current_setting('keepwell.services', true), ' analytics ') > 0 AND ((OLD.bio IS DISTINCT FROM NEW.bio OR OLD.experience_years IS DISTINCT FROM NEW.experience_years OR OLD.specialization IS DISTINCT FROM NEW.specialization OR OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url OR OLD.status IS DISTINCT FROM NEW.status)) THEN
      outside := outside || '*analytics'::text;
    END IF;
    IF outside IS NOT NULL THEN
      INSERT INTO sync_debt (person_id, targets, revision, code)
      VALUES (NEW.user_id, outside, NEW.revision, 'service');
    END IF;
  END IF;
  IF word = mine || '=' AND NOT (OLD.full_name IS DISTINCT FROM NEW.full_name OR OLD.email IS DISTINCT FROM NEW.email) THEN RETURN NULL; END IF;
  BEGIN
    IF (OLD.status IS DISTINCT FROM NEW.status OR OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN owed := owed || 'users'::text; END IF;
    IF (OLD.bio IS DISTINCT FROM NEW.bio OR OLD.experience_years IS DISTINCT FROM NEW.experience_years OR OLD.phone IS DISTINCT FROM NEW.phone OR OLD.specialization IS DISTINCT FROM NEW.specialization OR OLD.status IS DISTINCT FROM NEW.status OR OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN owed := owed || 'therapist_profiles'::text; END IF;
    IF NOT starts_with(word, mine) THEN
      IF owed IS NOT NULL THEN reason := 'uncopied'; END IF;
    ELSE
      word := rtrim(substr(word, length(mine) + 1), ' =');
      -- A copy that was made may be what an item waits for: a worker looks, and settles it.
      owed := (SELECT array_agg(target) FROM sync_ledger
               WHERE person_id = NEW.user_id AND owed_since IS NOT NULL AND target = ANY(owed));
      IF owed IS NOT NULL THEN reason := 'copied'; END IF;
      IF word <> '' THEN
        owed := owed || (SELECT array_agg(split_part(w, '=', 1)) FROM unnest(string_to_array(word, ' ')) w);
        reason := split_part(split_part(word, ' ', 1), '=', 2);
      END IF;
    END IF;
    IF (OLD.full_name IS DISTINCT FROM NEW.full_name) THEN
      LOCK TABLE ONLY users IN ACCESS SHARE MODE NOWAIT;
      IF current_setting('transaction_isolation') <> 'read committed'
         OR EXISTS (SELECT copy.user_id AS person_id FROM therapist_enrollments AS copy JOIN users ON copy.user_id = users.id WHERE copy.user_id = NEW.user_id AND (copy.full_name IS DISTINCT FROM users.full_name)) THEN
        lost := coalesce(lost, '{}') || jsonb_build_object('full_name', NEW.full_name);
        owed := owed || 'therapist_enrollments'::text;
        reason := coalesce(reason, 'drift');
      END IF;
    END IF;
    IF (OLD.email IS DISTINCT FROM NEW.email) THEN
      LOCK TABLE ONLY users IN ACCESS SHARE MODE NOWAIT;
      IF current_setting('transaction_isolation') <> 'read committed'
         OR EXISTS (SELECT copy.user_id AS person_id FROM therapist_enrollments AS copy JOIN users ON copy.user_id = users.id WHERE copy.user_id = NEW.user_id AND (copy.email IS DISTINCT FROM users.email)) THEN
        lost := coalesce(lost, '{}') || jsonb_build_object('email', NEW.email);
        owed := owed || 'therapist_enrollments'::text;
        reason := coalesce(reason, 'drift');
      END IF;
    END IF;
  EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
    GET STACKED DIAGNOSTICS reason = RETURNED_SQLSTATE;
    owed := ARRAY['users', 'therapist_enrollments', 'therapist_profiles']::text[];
  END;
  IF lost IS NOT NULL THEN
    BEGIN
      LOCK TABLE ONLY sync_lost_value IN ROW EXCLUSIVE MODE NOWAIT;
      INSERT INTO sync_lost_value (person_id, target, values, written_by, at) VALUES (NEW.user_id, 'therapist_enrollments', lost, session_user, now());
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      INSERT INTO sync_belated (person_id, target, values)
      VALUES (NEW.user_id, 'sync_lost_value', jsonb_build_object('person_id', NEW.user_id, 'target', 'therapist_enrollments', 'values', lost, 'written_by', session_user, 'at', now()));
    END;
  END IF;
  IF owed IS NOT NULL THEN
    INSERT INTO sync_debt (person_id, targets, revision, code) VALUES (NEW.user_id, owed, NEW.revision, reason);
  END IF;
  RETURN NULL;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_copy_therapist_enrollments() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '20ms' AS $keepwell$
DECLARE
  failed text := '';
  -- Settings are written by assignment: PERFORM runs a query for each, at ten times the price.
  word text;
  rows int := coalesce(nullif(split_part(current_setting('keepwell.row', true), ' ', 1), ''), '0')::int;
BEGIN
  -- Above READ COMMITTED a copy would be made from an old snapshot, and fail the caller's own next UPDATE.
  IF NEW.user_id IS NULL OR rows >= 200
     OR current_setting('transaction_isolation') <> 'read committed' THEN
    word := set_config('keepwell.copied', '', true);
    RETURN NULL;
  END IF;
  word := set_config('keepwell.row', concat_ws(' ', rows + 1, TG_TABLE_NAME, NEW.user_id, concat(',', CASE WHEN (OLD.bio IS DISTINCT FROM NEW.bio) THEN 'bio,' END, CASE WHEN (OLD.experience_years IS DISTINCT FROM NEW.experience_years) THEN 'experience_years,' END, CASE WHEN (OLD.phone IS DISTINCT FROM NEW.phone) THEN 'phone,' END, CASE WHEN (OLD.specialization IS DISTINCT FROM NEW.specialization) THEN 'specialization,' END, CASE WHEN (OLD.status IS DISTINCT FROM NEW.status) THEN 'status,' END, CASE WHEN (OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN 'profile_image_url,' END)), true);
  IF (OLD.bio IS DISTINCT FROM NEW.bio OR OLD.experience_years IS DISTINCT FROM NEW.experience_years OR OLD.phone IS DISTINCT FROM NEW.phone OR OLD.specialization IS DISTINCT FROM NEW.specialization) THEN failed := failed || sync_therapist_profile_data(); END IF;
  IF (OLD.status IS DISTINCT FROM NEW.status) THEN failed := failed || sync_verification_status(); END IF;
  IF (OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN failed := failed || sync_avatar_across_tables(); END IF;
  -- A copy that was made may be what an item waits for. Where nothing waits, the debt trigger has nothing to do.
  IF failed = '' AND NOT EXISTS (SELECT FROM sync_ledger WHERE person_id = NEW.user_id AND owed_since IS NOT NULL)
  THEN failed := '='; END IF;
  word := set_config('keepwell.copied', concat(TG_RELID, ':', NEW.revision, ':', failed), true);
  RETURN NULL;
EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
  word := set_config('keepwell.copied', '', true);
  RETURN NULL;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_revision_therapist_profiles() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $keepwell$
DECLARE
  told jsonb;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    NEW.revision := nextval('sync_revision');
    NEW.net_revision := OLD.net_revision;
    NEW.avatar_revision := CASE WHEN (OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN NEW.revision ELSE OLD.avatar_revision END;
    -- Which facts, when, in whose name and by which write; never what they say. A line in a table of its own cost each write twice this.
    told := jsonb_build_array(
      clock_timestamp(), coalesce(nullif(current_setting('keepwell.actor', true), ''), 'sql:' || session_user),
      coalesce(current_setting('keepwell.request', true), ''), NEW.revision);
    IF (OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN
      NEW.last_changes := jsonb_set(NEW.last_changes, '{avatar}', told);
    END IF;
  ELSE
    -- The audit relies on it that whoever takes a number has a transaction id by then; an UPDATE has one by its lock.
    PERFORM pg_current_xact_id();
    NEW.revision := nextval('sync_revision');
    IF NEW.profile_image_url IS NOT NULL AND NEW.avatar_revision = 0 THEN NEW.avatar_revision := NEW.revision; END IF;
  END IF;
  RETURN NEW;
EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
  -- A column of ours was renamed: the person's write matters more than its number.
  RETURN NEW;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_rows_therapist_profiles() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $keepwell$
BEGIN
  IF TG_OP <> 'INSERT' AND OLD.user_id IS NOT NULL THEN
    INSERT INTO sync_debt (person_id, targets, revision, code) SELECT OLD.user_id, ARRAY['users', 'therapist_enrollments', 'therapist_profiles']::text[], nextval('sync_revision'), lower(TG_OP);
    IF coalesce(nullif(current_setting('keepwell.services', true), ''), keepwell_services()) <> '-' THEN
      INSERT INTO sync_debt (person_id, targets, revision, code)
      SELECT OLD.user_id, array_agg('*' || kind), nextval('sync_revision'), 'service'
      FROM unnest(ARRAY['listing', 'analytics']) AS kind
      WHERE strpos(current_setting('keepwell.services', true), ' ' || kind || ' ') > 0 HAVING count(*) > 0;
    END IF;
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.user_id IS NOT NULL THEN
    INSERT INTO sync_debt (person_id, targets, revision, code) SELECT NEW.user_id, ARRAY['users', 'therapist_enrollments', 'therapist_profiles']::text[], nextval('sync_revision'), lower(TG_OP);
    IF coalesce(nullif(current_setting('keepwell.services', true), ''), keepwell_services()) <> '-' THEN
      INSERT INTO sync_debt (person_id, targets, revision, code)
      SELECT NEW.user_id, array_agg('*' || kind), nextval('sync_revision'), 'service'
      FROM unnest(ARRAY['listing', 'analytics']) AS kind
      WHERE strpos(current_setting('keepwell.services', true), ' ' || kind || ' ') > 0 HAVING count(*) > 0;
    END IF;
  END IF;
  IF TG_OP = 'DELETE' AND OLD.user_id IS NOT NULL
     OR TG_OP = 'UPDATE' AND OLD.user_id IS NOT NULL AND NEW.user_id IS NULL THEN
    BEGIN
      LOCK TABLE ONLY sync_tombstone IN ROW EXCLUSIVE MODE NOWAIT;
      INSERT INTO sync_tombstone (person_id, target, row_id, kind, at) VALUES (OLD.user_id, 'therapist_profiles', OLD.id, CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'unlinked' END, clock_timestamp());
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      INSERT INTO sync_belated (person_id, target, values)
      VALUES (OLD.user_id, 'sync_tombstone', jsonb_build_object('person_id', OLD.user_id, 'target', 'therapist_profiles', 'row_id', OLD.id, 'kind', CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'unlinked' END, 'at', clock_timestamp()));
    END;
  END IF;
  RETURN NULL;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_debt_therapist_profiles() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $keepwell$
DECLARE
  word text := coalesce(current_setting('keepwell.copied', true), '');
  -- Every write has a revision of its own, so that no row takes another's word, nor its own of a write before.
  mine text := concat(TG_RELID, ':', NEW.revision, ':');
  -- Null while there is nothing: testing that is cheaper than comparing arrays, and a bulk statement does it per row.
  owed text[];
  lost jsonb;
  reason text;
  outside text[];
BEGIN
  IF NEW.user_id IS NULL THEN RETURN NULL; END IF;
  IF coalesce(nullif(current_setting('keepwell.services', true), ''), keepwell_services()) <> '-' THEN
    IF strpos(current_setting('keepwell.services', true), ' listing ') > 0 AND ((OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url)) THEN
      outside := outside || '*listing'::text;
    END IF;
    IF strpos(current_setting('keepwell.services', true), ' analytics ') > 0 AND ((OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url)) THEN
      outside := outside || '*analytics'::text;
    END IF;
    IF outside IS NOT NULL THEN
      INSERT INTO sync_debt (person_id, targets, revision, code)
      VALUES (NEW.user_id, outside, NEW.revision, 'service');
    END IF;
  END IF;
  IF word = mine || '=' AND NOT (OLD.bio IS DISTINCT FROM NEW.bio OR OLD.experience_years IS DISTINCT FROM NEW.experience_years OR OLD.phone IS DISTINCT FROM NEW.phone OR OLD.specialization IS DISTINCT FROM NEW.specialization OR OLD.verification_status IS DISTINCT FROM NEW.verification_status) THEN RETURN NULL; END IF;
  BEGIN
    IF (OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN owed := owed || 'users'::text; END IF;
    IF (OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN owed := owed || 'therapist_enrollments'::text; END IF;
    IF NOT starts_with(word, mine) THEN
      IF owed IS NOT NULL THEN reason := 'uncopied'; END IF;
    ELSE
      word := rtrim(substr(word, length(mine) + 1), ' =');
      -- A copy that was made may be what an item waits for: a worker looks, and settles it.
      owed := (SELECT array_agg(target) FROM sync_ledger
               WHERE person_id = NEW.user_id AND owed_since IS NOT NULL AND target = ANY(owed));
      IF owed IS NOT NULL THEN reason := 'copied'; END IF;
      IF word <> '' THEN
        owed := owed || (SELECT array_agg(split_part(w, '=', 1)) FROM unnest(string_to_array(word, ' ')) w);
        reason := split_part(split_part(word, ' ', 1), '=', 2);
      END IF;
    END IF;
    IF (OLD.bio IS DISTINCT FROM NEW.bio) THEN
      LOCK TABLE ONLY therapist_enrollments IN ACCESS SHARE MODE NOWAIT;
      IF current_setting('transaction_isolation') <> 'read committed'
         OR EXISTS (SELECT copy.user_id AS person_id FROM therapist_profiles AS copy JOIN therapist_enrollments ON copy.user_id = therapist_enrollments.user_id WHERE copy.user_id = NEW.user_id AND (copy.bio IS DISTINCT FROM therapist_enrollments.bio)) THEN
        lost := coalesce(lost, '{}') || jsonb_build_object('bio', NEW.bio);
        owed := owed || 'therapist_profiles'::text;
        reason := coalesce(reason, 'drift');
      END IF;
    END IF;
    IF (OLD.experience_years IS DISTINCT FROM NEW.experience_years) THEN
      LOCK TABLE ONLY therapist_enrollments IN ACCESS SHARE MODE NOWAIT;
      IF current_setting('transaction_isolation') <> 'read committed'
         OR EXISTS (SELECT copy.user_id AS person_id FROM therapist_profiles AS copy JOIN therapist_enrollments ON copy.user_id = therapist_enrollments.user_id WHERE copy.user_id = NEW.user_id AND (copy.experience_years IS DISTINCT FROM therapist_enrollments.experience_years)) THEN
        lost := coalesce(lost, '{}') || jsonb_build_object('experience_years', NEW.experience_years);
        owed := owed || 'therapist_profiles'::text;
        reason := coalesce(reason, 'drift');
      END IF;
    END IF;
    IF (OLD.phone IS DISTINCT FROM NEW.phone) THEN
      LOCK TABLE ONLY therapist_enrollments IN ACCESS SHARE MODE NOWAIT;
      IF current_setting('transaction_isolation') <> 'read committed'
         OR EXISTS (SELECT copy.user_id AS person_id FROM therapist_profiles AS copy JOIN therapist_enrollments ON copy.user_id = therapist_enrollments.user_id WHERE copy.user_id = NEW.user_id AND (copy.phone IS DISTINCT FROM therapist_enrollments.phone)) THEN
        lost := coalesce(lost, '{}') || jsonb_build_object('phone', NEW.phone);
        owed := owed || 'therapist_profiles'::text;
        reason := coalesce(reason, 'drift');
      END IF;
    END IF;
    IF (OLD.specialization IS DISTINCT FROM NEW.specialization) THEN
      LOCK TABLE ONLY therapist_enrollments IN ACCESS SHARE MODE NOWAIT;
      IF current_setting('transaction_isolation') <> 'read committed'
         OR EXISTS (SELECT copy.user_id AS person_id FROM therapist_profiles AS copy JOIN therapist_enrollments ON copy.user_id = therapist_enrollments.user_id WHERE copy.user_id = NEW.user_id AND (keepwell_list_differs(copy.specialization, therapist_enrollments.specialization))) THEN
        lost := coalesce(lost, '{}') || jsonb_build_object('specialization', NEW.specialization);
        owed := owed || 'therapist_profiles'::text;
        reason := coalesce(reason, 'drift');
      END IF;
    END IF;
    IF (OLD.verification_status IS DISTINCT FROM NEW.verification_status) THEN
      LOCK TABLE ONLY therapist_enrollments IN ACCESS SHARE MODE NOWAIT;
      IF current_setting('transaction_isolation') <> 'read committed'
         OR EXISTS (SELECT copy.user_id AS person_id FROM therapist_profiles AS copy JOIN therapist_enrollments ON copy.user_id = therapist_enrollments.user_id WHERE copy.user_id = NEW.user_id AND (copy.verification_status IS DISTINCT FROM therapist_enrollments.status)) THEN
        lost := coalesce(lost, '{}') || jsonb_build_object('verification_status', NEW.verification_status);
        owed := owed || 'therapist_profiles'::text;
        reason := coalesce(reason, 'drift');
      END IF;
    END IF;
  EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
    GET STACKED DIAGNOSTICS reason = RETURNED_SQLSTATE;
    owed := ARRAY['users', 'therapist_enrollments', 'therapist_profiles']::text[];
  END;
  IF lost IS NOT NULL THEN
    BEGIN
      LOCK TABLE ONLY sync_lost_value IN ROW EXCLUSIVE MODE NOWAIT;
      INSERT INTO sync_lost_value (person_id, target, values, written_by, at) VALUES (NEW.user_id, 'therapist_profiles', lost, session_user, now());
    EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
      INSERT INTO sync_belated (person_id, target, values)
      VALUES (NEW.user_id, 'sync_lost_value', jsonb_build_object('person_id', NEW.user_id, 'target', 'therapist_profiles', 'values', lost, 'written_by', session_user, 'at', now()));
    END;
  END IF;
  IF owed IS NOT NULL THEN
    INSERT INTO sync_debt (person_id, targets, revision, code) VALUES (NEW.user_id, owed, NEW.revision, reason);
  END IF;
  RETURN NULL;
END
$keepwell$;
CREATE OR REPLACE FUNCTION keepwell_copy_therapist_profiles() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '20ms' AS $keepwell$
DECLARE
  failed text := '';
  -- Settings are written by assignment: PERFORM runs a query for each, at ten times the price.
  word text;
  rows int := coalesce(nullif(split_part(current_setting('keepwell.row', true), ' ', 1), ''), '0')::int;
BEGIN
  -- Above READ COMMITTED a copy would be made from an old snapshot, and fail the caller's own next UPDATE.
  IF NEW.user_id IS NULL OR rows >= 200
     OR current_setting('transaction_isolation') <> 'read committed' THEN
    word := set_config('keepwell.copied', '', true);
    RETURN NULL;
  END IF;
  word := set_config('keepwell.row', concat_ws(' ', rows + 1, TG_TABLE_NAME, NEW.user_id, concat(',', CASE WHEN (OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN 'profile_image_url,' END)), true);
  IF (OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) THEN failed := failed || sync_avatar_across_tables(); END IF;
  -- A copy that was made may be what an item waits for. Where nothing waits, the debt trigger has nothing to do.
  IF failed = '' AND NOT EXISTS (SELECT FROM sync_ledger WHERE person_id = NEW.user_id AND owed_since IS NOT NULL)
  THEN failed := '='; END IF;
  word := set_config('keepwell.copied', concat(TG_RELID, ':', NEW.revision, ':', failed), true);
  RETURN NULL;
EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
  word := set_config('keepwell.copied', '', true);
  RETURN NULL;
END
$keepwell$;
DROP TRIGGER IF EXISTS zz_sync_revision_insert ON users;
CREATE TRIGGER zz_sync_revision_insert BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION keepwell_revision_users();
COMMENT ON TRIGGER zz_sync_revision_insert ON users IS 'keepwell 00a2fc7e89f6e71b';
DROP TRIGGER IF EXISTS zz_sync_truncated ON users;
CREATE TRIGGER zz_sync_truncated AFTER TRUNCATE ON users FOR EACH STATEMENT EXECUTE FUNCTION keepwell_truncated();
COMMENT ON TRIGGER zz_sync_truncated ON users IS 'keepwell 95ec811447edefde';
DROP TRIGGER IF EXISTS zz_sync_rows ON users;
CREATE TRIGGER zz_sync_rows AFTER INSERT OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION keepwell_rows_users();
COMMENT ON TRIGGER zz_sync_rows ON users IS 'keepwell 5b9fc4e2113896bc';
DROP TRIGGER IF EXISTS zz_sync_moved ON users;
CREATE TRIGGER zz_sync_moved AFTER UPDATE ON users FOR EACH ROW WHEN (OLD.id IS DISTINCT FROM NEW.id OR (OLD.email_norm IS DISTINCT FROM NEW.email_norm)) EXECUTE FUNCTION keepwell_rows_users();
COMMENT ON TRIGGER zz_sync_moved ON users IS 'keepwell a6850eb02a36bd13';
DROP TRIGGER IF EXISTS zz_sync_debt ON users;
CREATE CONSTRAINT TRIGGER zz_sync_debt AFTER UPDATE ON users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((OLD.full_name IS DISTINCT FROM NEW.full_name OR OLD.email IS DISTINCT FROM NEW.email OR OLD.avatar_url IS DISTINCT FROM NEW.avatar_url OR OLD.is_verified IS DISTINCT FROM NEW.is_verified) AND NEW.net_revision <= OLD.net_revision) EXECUTE FUNCTION keepwell_debt_users();
COMMENT ON TRIGGER zz_sync_debt ON users IS 'keepwell ae9e21e486a3c1a0';
DROP TRIGGER IF EXISTS zz_sync_revision ON users;
CREATE TRIGGER zz_sync_revision BEFORE UPDATE ON users FOR EACH ROW WHEN ((OLD.full_name IS DISTINCT FROM NEW.full_name OR OLD.email IS DISTINCT FROM NEW.email OR OLD.avatar_url IS DISTINCT FROM NEW.avatar_url) AND NEW.net_revision <= OLD.net_revision) EXECUTE FUNCTION keepwell_revision_users();
COMMENT ON TRIGGER zz_sync_revision ON users IS 'keepwell 669b32f9238ccec2';
DROP TRIGGER IF EXISTS sync_avatar_from_users ON users;
CREATE CONSTRAINT TRIGGER sync_avatar_from_users AFTER UPDATE ON users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((OLD.full_name IS DISTINCT FROM NEW.full_name OR OLD.email IS DISTINCT FROM NEW.email OR OLD.avatar_url IS DISTINCT FROM NEW.avatar_url) AND NEW.net_revision <= OLD.net_revision) EXECUTE FUNCTION keepwell_copy_users();
COMMENT ON TRIGGER sync_avatar_from_users ON users IS 'keepwell 1e50b315ffc274dc';
DROP TRIGGER IF EXISTS zz_sync_revision_insert ON therapist_enrollments;
CREATE TRIGGER zz_sync_revision_insert BEFORE INSERT ON therapist_enrollments FOR EACH ROW EXECUTE FUNCTION keepwell_revision_therapist_enrollments();
COMMENT ON TRIGGER zz_sync_revision_insert ON therapist_enrollments IS 'keepwell f09f109c3e5d9254';
DROP TRIGGER IF EXISTS zz_sync_truncated ON therapist_enrollments;
CREATE TRIGGER zz_sync_truncated AFTER TRUNCATE ON therapist_enrollments FOR EACH STATEMENT EXECUTE FUNCTION keepwell_truncated();
COMMENT ON TRIGGER zz_sync_truncated ON therapist_enrollments IS 'keepwell 78f8458a4a16a0b1';
DROP TRIGGER IF EXISTS zz_sync_rows ON therapist_enrollments;
CREATE TRIGGER zz_sync_rows AFTER INSERT OR DELETE ON therapist_enrollments FOR EACH ROW EXECUTE FUNCTION keepwell_rows_therapist_enrollments();
COMMENT ON TRIGGER zz_sync_rows ON therapist_enrollments IS 'keepwell e0ed98bc234da6ba';
DROP TRIGGER IF EXISTS zz_sync_moved ON therapist_enrollments;
CREATE TRIGGER zz_sync_moved AFTER UPDATE ON therapist_enrollments FOR EACH ROW WHEN (OLD.user_id IS DISTINCT FROM NEW.user_id OR (NEW.user_id IS NULL AND (OLD.email_norm IS DISTINCT FROM NEW.email_norm))) EXECUTE FUNCTION keepwell_rows_therapist_enrollments();
COMMENT ON TRIGGER zz_sync_moved ON therapist_enrollments IS 'keepwell a228d8c1cf8c7524';
DROP TRIGGER IF EXISTS zz_sync_debt ON therapist_enrollments;
CREATE CONSTRAINT TRIGGER zz_sync_debt AFTER UPDATE ON therapist_enrollments DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((OLD.bio IS DISTINCT FROM NEW.bio OR OLD.experience_years IS DISTINCT FROM NEW.experience_years OR OLD.phone IS DISTINCT FROM NEW.phone OR OLD.specialization IS DISTINCT FROM NEW.specialization OR OLD.status IS DISTINCT FROM NEW.status OR OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url OR OLD.full_name IS DISTINCT FROM NEW.full_name OR OLD.email IS DISTINCT FROM NEW.email) AND NEW.net_revision <= OLD.net_revision) EXECUTE FUNCTION keepwell_debt_therapist_enrollments();
COMMENT ON TRIGGER zz_sync_debt ON therapist_enrollments IS 'keepwell 208bcdd498ad35ab';
DROP TRIGGER IF EXISTS zz_sync_revision ON therapist_enrollments;
CREATE TRIGGER zz_sync_revision BEFORE UPDATE ON therapist_enrollments FOR EACH ROW WHEN ((OLD.bio IS DISTINCT FROM NEW.bio OR OLD.experience_years IS DISTINCT FROM NEW.experience_years OR OLD.phone IS DISTINCT FROM NEW.phone OR OLD.specialization IS DISTINCT FROM NEW.specialization OR OLD.status IS DISTINCT FROM NEW.status OR OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) AND NEW.net_revision <= OLD.net_revision) EXECUTE FUNCTION keepwell_revision_therapist_enrollments();
COMMENT ON TRIGGER zz_sync_revision ON therapist_enrollments IS 'keepwell 9c8a801aa4e155e7';
DROP TRIGGER IF EXISTS sync_avatar_from_enrollments ON therapist_enrollments;
CREATE CONSTRAINT TRIGGER sync_avatar_from_enrollments AFTER UPDATE ON therapist_enrollments DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((OLD.bio IS DISTINCT FROM NEW.bio OR OLD.experience_years IS DISTINCT FROM NEW.experience_years OR OLD.phone IS DISTINCT FROM NEW.phone OR OLD.specialization IS DISTINCT FROM NEW.specialization OR OLD.status IS DISTINCT FROM NEW.status OR OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) AND NEW.net_revision <= OLD.net_revision) EXECUTE FUNCTION keepwell_copy_therapist_enrollments();
COMMENT ON TRIGGER sync_avatar_from_enrollments ON therapist_enrollments IS 'keepwell 0227b3bd11ee4dbf';
DROP TRIGGER IF EXISTS zz_sync_revision_insert ON therapist_profiles;
CREATE TRIGGER zz_sync_revision_insert BEFORE INSERT ON therapist_profiles FOR EACH ROW EXECUTE FUNCTION keepwell_revision_therapist_profiles();
COMMENT ON TRIGGER zz_sync_revision_insert ON therapist_profiles IS 'keepwell 2c74c2246bd567a8';
DROP TRIGGER IF EXISTS zz_sync_truncated ON therapist_profiles;
CREATE TRIGGER zz_sync_truncated AFTER TRUNCATE ON therapist_profiles FOR EACH STATEMENT EXECUTE FUNCTION keepwell_truncated();
COMMENT ON TRIGGER zz_sync_truncated ON therapist_profiles IS 'keepwell 7489866a0383c367';
DROP TRIGGER IF EXISTS zz_sync_rows ON therapist_profiles;
CREATE TRIGGER zz_sync_rows AFTER INSERT OR DELETE ON therapist_profiles FOR EACH ROW EXECUTE FUNCTION keepwell_rows_therapist_profiles();
COMMENT ON TRIGGER zz_sync_rows ON therapist_profiles IS 'keepwell f5f1463ec41ea9be';
DROP TRIGGER IF EXISTS zz_sync_moved ON therapist_profiles;
CREATE TRIGGER zz_sync_moved AFTER UPDATE ON therapist_profiles FOR EACH ROW WHEN (OLD.user_id IS DISTINCT FROM NEW.user_id) EXECUTE FUNCTION keepwell_rows_therapist_profiles();
COMMENT ON TRIGGER zz_sync_moved ON therapist_profiles IS 'keepwell 6188877b64526039';
DROP TRIGGER IF EXISTS zz_sync_debt ON therapist_profiles;
CREATE CONSTRAINT TRIGGER zz_sync_debt AFTER UPDATE ON therapist_profiles DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url OR OLD.bio IS DISTINCT FROM NEW.bio OR OLD.experience_years IS DISTINCT FROM NEW.experience_years OR OLD.phone IS DISTINCT FROM NEW.phone OR OLD.specialization IS DISTINCT FROM NEW.specialization OR OLD.verification_status IS DISTINCT FROM NEW.verification_status) AND NEW.net_revision <= OLD.net_revision) EXECUTE FUNCTION keepwell_debt_therapist_profiles();
COMMENT ON TRIGGER zz_sync_debt ON therapist_profiles IS 'keepwell aef1856c220abac1';
DROP TRIGGER IF EXISTS zz_sync_revision ON therapist_profiles;
CREATE TRIGGER zz_sync_revision BEFORE UPDATE ON therapist_profiles FOR EACH ROW WHEN ((OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) AND NEW.net_revision <= OLD.net_revision) EXECUTE FUNCTION keepwell_revision_therapist_profiles();
COMMENT ON TRIGGER zz_sync_revision ON therapist_profiles IS 'keepwell 3cd7c8a05c857d7c';
DROP TRIGGER IF EXISTS sync_avatar_from_profiles ON therapist_profiles;
CREATE CONSTRAINT TRIGGER sync_avatar_from_profiles AFTER UPDATE ON therapist_profiles DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((OLD.profile_image_url IS DISTINCT FROM NEW.profile_image_url) AND NEW.net_revision <= OLD.net_revision) EXECUTE FUNCTION keepwell_copy_therapist_profiles();
COMMENT ON TRIGGER sync_avatar_from_profiles ON therapist_profiles IS 'keepwell 75bec706c82c6fe5';
CREATE OR REPLACE VIEW contract_sync_state AS
SELECT p.person_id, t.target,
  coalesce(l.desired_revision, 0) + (d.owed_since IS NOT NULL)::int AS desired_revision,
  coalesce(l.applied_revision, 0) AS applied_revision,
  coalesce(l.verified_revision, 0) AS verified_revision,
  CASE
    -- A service is told of a deletion by a call of its own.
    WHEN p.gone IS NOT NULL AND (t.kind IS NULL OR d.owed_since IS NULL AND l.owed_since IS NULL) THEN p.gone
    WHEN l.is_paused AND (d.owed_since IS NOT NULL OR l.owed_since IS NOT NULL) THEN 'parked'
    WHEN (d.owed_since IS NOT NULL OR l.owed_since IS NOT NULL AND l.excluded_reason IS NULL
      AND l.next_attempt_at IS NOT NULL) AND (EXISTS (SELECT FROM sync_breaker b WHERE b.target = t.target
        AND (b.word = 'open' OR b.throttled_until > clock_timestamp()))
      OR EXISTS (SELECT FROM sync_pause s WHERE s.scope = 'person' AND s.key = p.person_id::text
        OR s.scope = 'target' AND s.key = t.target OR s.scope = 'operation' AND s.key = 'sync')) THEN 'parked'
    WHEN d.owed_since IS NOT NULL THEN 'due'
    WHEN l.owed_since IS NOT NULL AND l.excluded_reason IS NOT NULL THEN 'excluded'
    WHEN l.owed_since IS NOT NULL AND l.lease_until > clock_timestamp() THEN 'leased'
    WHEN l.owed_since IS NOT NULL AND l.next_attempt_at IS NULL THEN 'blocked'
    WHEN l.owed_since IS NOT NULL AND l.next_attempt_at > clock_timestamp() THEN 'backing_off'
    WHEN l.owed_since IS NOT NULL THEN 'due'
    WHEN NOT CASE WHEN t.kind IS NOT NULL THEN CASE t.kind WHEN 'listing' THEN EXISTS (SELECT FROM therapist_enrollments WHERE user_id = p.person_id AND status = 'approved') ELSE l.person_id IS NOT NULL END ELSE CASE t.target WHEN 'users' THEN (EXISTS (SELECT FROM users WHERE users.id = p.person_id) AND (EXISTS (SELECT FROM therapist_enrollments WHERE therapist_enrollments.user_id = p.person_id) OR EXISTS (SELECT FROM therapist_profiles WHERE therapist_profiles.user_id = p.person_id))) WHEN 'therapist_enrollments' THEN (EXISTS (SELECT FROM therapist_enrollments WHERE therapist_enrollments.user_id = p.person_id) AND (EXISTS (SELECT FROM users WHERE users.id = p.person_id) OR EXISTS (SELECT FROM therapist_profiles WHERE therapist_profiles.user_id = p.person_id))) WHEN 'therapist_profiles' THEN ((EXISTS (SELECT FROM therapist_profiles WHERE therapist_profiles.user_id = p.person_id) AND (EXISTS (SELECT FROM users WHERE users.id = p.person_id) OR EXISTS (SELECT FROM therapist_enrollments WHERE therapist_enrollments.user_id = p.person_id))) OR EXISTS (SELECT FROM therapist_enrollments WHERE user_id = p.person_id AND therapist_enrollments.status = 'approved')) END END THEN 'excluded'
    WHEN t.kind IS NULL THEN 'in_sync'
    WHEN l.person_id IS NULL THEN 'due'
    WHEN l.verified_revision < l.applied_revision THEN 'unverifiable'
    ELSE 'in_sync'
  END AS state,
  least(l.owed_since, d.owed_since) AS owed_since,
  coalesce(l.attempts, 0) AS attempts,
  l.next_attempt_at,
  CASE WHEN l.owed_since IS NOT NULL THEN l.last_error_code ELSE d.code END AS last_error_code,
  CASE
    WHEN p.gone IS NOT NULL OR d.owed_since IS NOT NULL THEN NULL
    WHEN l.owed_since IS NOT NULL THEN l.excluded_reason
    WHEN NOT CASE WHEN t.kind IS NOT NULL THEN CASE t.kind WHEN 'listing' THEN EXISTS (SELECT FROM therapist_enrollments WHERE user_id = p.person_id AND status = 'approved') ELSE l.person_id IS NOT NULL END ELSE CASE t.target WHEN 'users' THEN (EXISTS (SELECT FROM users WHERE users.id = p.person_id) AND (EXISTS (SELECT FROM therapist_enrollments WHERE therapist_enrollments.user_id = p.person_id) OR EXISTS (SELECT FROM therapist_profiles WHERE therapist_profiles.user_id = p.person_id))) WHEN 'therapist_enrollments' THEN (EXISTS (SELECT FROM therapist_enrollments WHERE therapist_enrollments.user_id = p.person_id) AND (EXISTS (SELECT FROM users WHERE users.id = p.person_id) OR EXISTS (SELECT FROM therapist_profiles WHERE therapist_profiles.user_id = p.person_id))) WHEN 'therapist_profiles' THEN ((EXISTS (SELECT FROM therapist_profiles WHERE therapist_profiles.user_id = p.person_id) AND (EXISTS (SELECT FROM users WHERE users.id = p.person_id) OR EXISTS (SELECT FROM therapist_enrollments WHERE therapist_enrollments.user_id = p.person_id))) OR EXISTS (SELECT FROM therapist_enrollments WHERE user_id = p.person_id AND therapist_enrollments.status = 'approved')) END END THEN 'no source'
  END AS excluded_reason
FROM (SELECT id AS person_id, NULL::text AS gone FROM users UNION ALL SELECT person_id, CASE WHEN bool_and(applied_at IS NOT NULL) THEN 'deleted' WHEN bool_or(hold_id IS NOT NULL) THEN 'parked' ELSE 'due' END FROM sync_tombstone WHERE target = 'users' AND kind = 'deleted' AND NOT EXISTS (SELECT FROM users WHERE users.id = sync_tombstone.person_id) GROUP BY person_id) p
CROSS JOIN (
  SELECT target::text, kind::text FROM (VALUES ('users', NULL), ('therapist_enrollments', NULL), ('therapist_profiles', NULL)) AS tables (target, kind)
  UNION ALL SELECT target, kind FROM sync_service WHERE is_configured
) AS t
LEFT JOIN sync_ledger l ON l.person_id = p.person_id AND l.target = t.target
LEFT JOIN LATERAL (
  SELECT min(at) AS owed_since, min(code) AS code FROM sync_debt
  WHERE sync_debt.person_id = p.person_id
    AND (t.target = ANY(sync_debt.targets) OR '*' || t.kind = ANY(sync_debt.targets))
  HAVING count(*) > 0
) d ON true;
CREATE OR REPLACE VIEW contract_unlinked AS
SELECT 'therapist_enrollments'::text AS target, id::bigint AS row_id, 'excluded'::text AS state, (CASE WHEN superseded_by IS NULL THEN 'applicant' ELSE 'superseded' END)::text AS reason FROM therapist_enrollments WHERE user_id IS NULL UNION ALL SELECT 'therapist_profiles'::text AS target, id::bigint AS row_id, 'excluded'::text AS state, ('quarantined')::text AS reason FROM therapist_profiles WHERE user_id IS NULL;
