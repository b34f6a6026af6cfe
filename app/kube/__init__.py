"""The Kubernetes API, as far as we use it: calls, watches, leases. Answers stay bytes until they are used.

Nothing here decides what a Job's failure is, and nothing here writes to a journal.
"""
