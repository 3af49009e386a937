-- Who sees a response: $1 everything (the master key), else $2 its team, else $3 its own line of keys.

-- name: store
INSERT INTO gateway_responses
    (response_id, team_id, key_id, previous_id, input, response, item_ids, expires_at)
VALUES ($1, $2::uuid, gateway_first_key($3::uuid), $4, $5, $6, $7, now() + make_interval(secs => $8::float8))
ON CONFLICT (response_id) DO NOTHING;

-- name: get
SELECT input, response
FROM gateway_responses
WHERE response_id = $4 AND expires_at > now()
  AND ($1::boolean OR team_id = $2::uuid
       OR ($2::uuid IS NULL AND team_id IS NULL AND key_id = gateway_first_key($3::uuid)));

-- name: keeps
SELECT EXISTS (
    SELECT FROM gateway_responses
    WHERE response_id = $4 AND expires_at > now()
      AND ($1::boolean OR team_id = $2::uuid
           OR ($2::uuid IS NULL AND team_id IS NULL AND key_id = gateway_first_key($3::uuid)))
);

-- name: chain
-- The response and those before it, the latest first: up to $5 of them, and as many as $6 bytes hold, plus the one
-- by which a limit is passed, so that the caller sees that it was.
WITH RECURSIVE
line AS (SELECT gateway_first_key($3::uuid) AS first_key),
chain AS (
    SELECT r.response_id, r.previous_id, 1 AS depth,
           (octet_length(r.input) + octet_length(r.response))::bigint AS total_bytes
    FROM gateway_responses AS r CROSS JOIN line
    WHERE r.response_id = $4 AND r.expires_at > now()
      AND ($1::boolean OR r.team_id = $2::uuid
           OR ($2::uuid IS NULL AND r.team_id IS NULL AND r.key_id = line.first_key))
    UNION ALL
    SELECT r.response_id, r.previous_id, chain.depth + 1,
           chain.total_bytes + octet_length(r.input) + octet_length(r.response)
    FROM chain JOIN gateway_responses AS r ON r.response_id = chain.previous_id CROSS JOIN line
    WHERE r.expires_at > now() AND chain.depth <= $5 AND chain.total_bytes <= $6
      AND ($1::boolean OR r.team_id = $2::uuid
           OR ($2::uuid IS NULL AND r.team_id IS NULL AND r.key_id = line.first_key))
)
SELECT chain.previous_id, chain.depth, chain.total_bytes,
       CASE WHEN chain.total_bytes <= $6 THEN r.input END AS input,
       CASE WHEN chain.total_bytes <= $6 THEN r.response END AS response
FROM chain JOIN gateway_responses AS r USING (response_id)
ORDER BY chain.depth;

-- name: items
-- The responses, the latest first, in which these items stand: up to $5 of them, and as many as $6 bytes hold.
WITH holding AS (
    SELECT response_id, created_at,
           sum((octet_length(input) + octet_length(response))::bigint)
               OVER (ORDER BY created_at DESC, response_id) AS total_bytes
    FROM gateway_responses
    WHERE item_ids && $4::text[] AND expires_at > now()
      AND ($1::boolean OR team_id = $2::uuid
           OR ($2::uuid IS NULL AND team_id IS NULL AND key_id = gateway_first_key($3::uuid)))
    ORDER BY created_at DESC, response_id LIMIT $5
)
SELECT r.input, r.response
FROM holding JOIN gateway_responses AS r USING (response_id)
WHERE holding.total_bytes <= $6
ORDER BY holding.created_at DESC, response_id;

-- name: delete
DELETE FROM gateway_responses
WHERE response_id = $4 AND expires_at > now()
  AND ($1::boolean OR team_id = $2::uuid
       OR ($2::uuid IS NULL AND team_id IS NULL AND key_id = gateway_first_key($3::uuid)));

-- name: prune
DELETE FROM gateway_responses
WHERE response_id IN (SELECT response_id FROM gateway_responses
                      WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED);
