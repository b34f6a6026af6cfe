"""The Kubernetes API, as far as we use it: calls, watches, leases. Answers stay bytes; who reads them knows their shape.

Nothing here decides what a Job's failure is, and nothing here writes to a journal.
"""
