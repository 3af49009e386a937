-- kind: expand
-- Who pays for a batch: its creation's budgets, first with what such a request may cost, in the end with what it cost.

ALTER TABLE gateway_batches
    ADD COLUMN creation JSONB; -- the attempt that made it: {request_id, attempt, started_us, scope, cost_nano_usd, period_ids, end_user, tags}

-- What was charged and is given back: a row of usage_costs with a cost below zero adds to it what others add to
-- settled_nano_usd, so that either only grows. Settled without released is what was spent.
ALTER TABLE budget_periods ADD COLUMN released_nano_usd BIGINT NOT NULL DEFAULT 0;

DROP TRIGGER budget_periods_announce_update ON budget_periods;
CREATE TRIGGER budget_periods_announce_update AFTER UPDATE ON budget_periods FOR EACH ROW
    WHEN (OLD.topped_up_nano_usd IS DISTINCT FROM NEW.topped_up_nano_usd
        OR OLD.released_nano_usd IS DISTINCT FROM NEW.released_nano_usd
        OR OLD.lost_nano_usd IS DISTINCT FROM NEW.lost_nano_usd OR OLD.ends_at IS DISTINCT FROM NEW.ends_at)
    EXECUTE FUNCTION gateway_announce_row('cost_budgets', 'budget_id');

-- A row that only gives back has the number of the attempt that was charged, below zero, and is no attempt of its own.
DO $$
BEGIN
    EXECUTE replace(
        pg_get_functiondef('usage_costs_roll_up'::regproc),
        'count(*) AS attempts', 'count(*) FILTER (WHERE i.attempt > 0) AS attempts');
END
$$;
