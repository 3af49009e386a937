"""Authentication that a fixed header cannot give: worked out for each request, or a token that ages.

`credentials.py` is the promise: header lines for one request. `sigv4.py` signs each request for AWS; `entra.py` and
`google_token.py` get bearer tokens, which `tokens.py` keeps fresh: asked for once however many requests wait, anew
before they expire, and used on while a renewal fails. `fetch.py` is the way to the token servers, over the same pool
as everything else. A plain key never comes here: that is a header of the account's.

botocore and google-auth are large: each is loaded when the first account that needs it is built. What fails is an
`upstream_auth` that names who refused or could not be reached, never a secret.
"""
