-- kind: expand
-- Who set a limit or a budget: a team's admin may do less with what an owner set. Rows of older versions count as an
-- owner's, but for those that team's admins alone have ever changed.

ALTER TABLE quota_limits ADD COLUMN set_by_owner BOOLEAN NOT NULL DEFAULT true;
ALTER TABLE cost_budgets ADD COLUMN set_by_owner BOOLEAN NOT NULL DEFAULT true;

WITH by_admins AS (
    SELECT object_type, object_id FROM audit_log
    WHERE object_type IN ('limit', 'budget') AND action IN ('created', 'changed')
    GROUP BY object_type, object_id
    HAVING bool_and(actor_role = 'admin')
), limits AS (
    UPDATE quota_limits AS l SET set_by_owner = false
    FROM by_admins AS a WHERE a.object_type = 'limit' AND a.object_id = l.id::text
)
UPDATE cost_budgets AS b SET set_by_owner = false
FROM by_admins AS a WHERE a.object_type = 'budget' AND a.object_id = b.id::text;

-- The team of a user who is in no other: its admin has a say over the user's limits and budgets. Null for all others.
CREATE FUNCTION gateway_only_team(member UUID) RETURNS UUID
LANGUAGE sql STABLE AS $$
    SELECT (array_agg(m.team_id))[1]
    FROM team_members AS m JOIN teams AS t ON t.id = m.team_id
    WHERE m.user_id = member AND t.deleted_at IS NULL
    HAVING count(*) = 1
$$;
