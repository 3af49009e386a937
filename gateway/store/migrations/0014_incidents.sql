-- kind: expand
-- Alerts of the gateway itself beside those of budgets: a journal that cannot be written. An older version joins every
-- alert with its budget, so it passes these by.

ALTER TABLE budget_alerts
    ALTER COLUMN budget_id DROP NOT NULL, -- null, as period_id: it is about no budget
    ALTER COLUMN period_id DROP NOT NULL,
    ADD COLUMN place TEXT, -- where in the gateway: a host and a directory
    ADD COLUMN reason TEXT,
    DROP CONSTRAINT budget_alerts_kind_check,
    ADD CONSTRAINT budget_alerts_kind_check
        CHECK (kind IN ('threshold', 'burn_rate', 'exceeded', 'journal_unwritable')),
    ADD CONSTRAINT budget_alerts_subject_check
        CHECK ((kind = 'journal_unwritable') = (budget_id IS NULL AND period_id IS NULL AND place IS NOT NULL));

CREATE INDEX budget_alerts_place ON budget_alerts (kind, place, raised_at) WHERE place IS NOT NULL;
