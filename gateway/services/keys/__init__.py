"""Virtual keys: who is calling, and what that key may use.

A token is `sk-kc-` + 256 random bits + a keyed checksum (`format`); the database has only its keyed
hash. All sub-keys come from the gateway's secret (`secret`), whose fingerprint the database keeps.

On the hot path a token is one look-up in `Snapshot`, synchronous. A token that is not there costs a
checksum (forgeries end here), then one row of a batched query (`lookup`), then it is warm. Every
change to a row is announced by Postgres (`gateway_changes`) and drops what it touches; an answer that
was read before the change and arrives after it is never kept.

`Keys` joins these and makes, lists, changes, revokes and rotates keys. Nothing here knows of HTTP,
stages or limits; a token is never logged, stored or put in an error whole.
"""
