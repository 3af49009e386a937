"""The admin API, `/admin/…`: handlers over services, free of HTTP.

`request` says what a handler gets and how it reads a body; each other file is one kind of thing and
gives `routes()`: method, path pattern and handler, for the server to mount behind the admin key. A
handler returns a status and a JSON object, or raises a `GatewayError` that names what is wrong. The
command line calls the same handlers.
"""
