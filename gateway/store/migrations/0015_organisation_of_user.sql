-- kind: expand
-- A key with a user and no team belongs to the user's organisation: that of the user's teams, where it is one.

CREATE FUNCTION gateway_organisation_of_user(member UUID) RETURNS UUID LANGUAGE sql STABLE AS $$
    SELECT (array_agg(DISTINCT t.organisation_id))[1]
    FROM public.team_members AS m JOIN public.teams AS t ON t.id = m.team_id
    WHERE m.user_id = member AND t.deleted_at IS NULL AND t.organisation_id IS NOT NULL
    HAVING count(DISTINCT t.organisation_id) = 1
$$;

-- Whoever holds such keys in memory reads them anew when that may have changed: told of as a change of the users.
CREATE FUNCTION gateway_announce_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM (SELECT FROM changed LIMIT 1001) AS some_rows) > 1000 THEN
        PERFORM pg_notify('gateway_changes', 'users:reload');
    ELSE
        PERFORM pg_notify('gateway_changes', 'users:' || user_id) FROM changed;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION gateway_announce_members_of_team() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM (SELECT FROM public.team_members WHERE team_id = NEW.id LIMIT 1001) AS some_rows) > 1000 THEN
        PERFORM pg_notify('gateway_changes', 'users:reload');
    ELSE
        PERFORM pg_notify('gateway_changes', 'users:' || user_id) FROM public.team_members WHERE team_id = NEW.id;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER team_members_announce_insert AFTER INSERT ON team_members REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_members();
CREATE TRIGGER team_members_announce_delete AFTER DELETE ON team_members REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION gateway_announce_members();
CREATE TRIGGER teams_announce_members AFTER UPDATE ON teams FOR EACH ROW
    WHEN (OLD.organisation_id IS DISTINCT FROM NEW.organisation_id
          OR (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL))
    EXECUTE FUNCTION gateway_announce_members_of_team();
