"""The audit log, read: who changed what, when, from where, and how it was before and after.

Rows are written by `gateway.store.audit.note`, in the transaction of the change; here they are only read.
"""
