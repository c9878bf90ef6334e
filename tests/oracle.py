"""
What must be equal, written by hand once more: nothing here is rendered from the declaration that it judges.

One statement is one snapshot. It needs nothing of the product but PostgreSQL.
"""

# Each line is a person, the target that is behind, and the fact. Values of specialization are plain lists with commas.
_DIFFERENCES = """
places (person, target, value, revision, place) AS (
    SELECT user_id, 'therapist_enrollments', profile_image_url, avatar_revision, 1 FROM therapist_enrollments
    WHERE user_id IS NOT NULL
    UNION ALL SELECT id, 'users', avatar_url, avatar_revision, 2 FROM users
    UNION ALL SELECT user_id, 'therapist_profiles', profile_image_url, avatar_revision, 3 FROM therapist_profiles
    WHERE user_id IS NOT NULL
), differences (person, target, fact) AS (
    SELECT u.id, 'therapist_enrollments', 'name' FROM users u JOIN therapist_enrollments e ON e.user_id = u.id
    WHERE e.full_name IS DISTINCT FROM u.full_name
    UNION ALL
    SELECT u.id, 'therapist_enrollments', 'email' FROM users u JOIN therapist_enrollments e ON e.user_id = u.id
    WHERE e.email IS DISTINCT FROM u.email
    UNION ALL
    SELECT u.id, 'users', 'verification' FROM users u JOIN therapist_enrollments e ON e.user_id = u.id
    WHERE u.is_verified <> (e.status = 'approved')
    UNION ALL
    SELECT e.user_id, 'therapist_profiles', fact
    FROM therapist_enrollments e JOIN therapist_profiles p ON p.user_id = e.user_id, LATERAL (VALUES
        ('bio', p.bio IS DISTINCT FROM e.bio),
        ('phone', p.phone IS DISTINCT FROM e.phone),
        ('experience_years', p.experience_years IS DISTINCT FROM e.experience_years),
        ('specialization', p.specialization IS DISTINCT FROM string_to_array(e.specialization, ', ')),
        ('verification', p.verification_status IS DISTINCT FROM e.status)) AS compared (fact, is_different)
    WHERE is_different
    UNION ALL
    SELECT e.user_id, 'therapist_profiles', 'row' FROM therapist_enrollments e JOIN users u ON u.id = e.user_id
    WHERE e.status = 'approved' AND NOT EXISTS (SELECT FROM therapist_profiles p WHERE p.user_id = e.user_id)
    UNION ALL
    SELECT a.person, a.target, 'avatar' FROM places a JOIN places b USING (person)
    WHERE a.value IS DISTINCT FROM b.value
      AND (b.revision > a.revision OR (b.revision = a.revision AND b.place < a.place))
)
"""
DIFFERENCES = f"WITH {_DIFFERENCES} SELECT DISTINCT person, target, fact FROM differences"
# What P1 forbids: a difference that is neither owed nor held by an open item.
SILENT = f"""
WITH {_DIFFERENCES}
SELECT DISTINCT person, target, fact FROM differences AS d
WHERE NOT EXISTS (SELECT FROM sync_debt x WHERE x.person_id = d.person AND d.target = ANY (x.targets))
  AND NOT EXISTS (SELECT FROM sync_ledger l
                  WHERE l.person_id = d.person AND l.target = d.target AND l.owed_since IS NOT NULL)
  AND NOT EXISTS (SELECT FROM manual_intervention_log i
                  WHERE i.person_id = d.person AND i.target = d.target AND NOT i.resolved)
"""
# What P7 forbids: owed, not to be tried again, and in front of nobody.
FORGOTTEN = """
SELECT person_id, target, last_error_code FROM sync_ledger AS l
WHERE owed_since IS NOT NULL AND next_attempt_at IS NULL AND excluded_reason IS NULL AND NOT is_paused
  AND NOT EXISTS (SELECT FROM manual_intervention_log i
                  WHERE i.person_id = l.person_id AND i.target = l.target AND NOT i.resolved)
  AND NOT EXISTS (SELECT FROM sync_debt x WHERE x.person_id = l.person_id AND l.target = ANY (x.targets))
"""
# What the ledger's own words forbid.
CONTRADICTIONS = """
SELECT person_id, target FROM sync_ledger
WHERE (owed_since IS NULL) <> (applied_revision = desired_revision) OR verified_revision > applied_revision
   OR (owed_since IS NULL AND (attempts > 0 OR next_attempt_at IS NOT NULL OR last_error_code IS NOT NULL))
"""
# The places of the avatar as they stand: of each place, its revision names the write that its value must be.
AVATARS = f"WITH {_DIFFERENCES} SELECT person, target, revision, value FROM places"
# Every address by which somebody is found: theirs, and those that they gave up.
ADDRESSES = "SELECT id, email FROM users UNION SELECT person_id, email FROM user_aliases"
