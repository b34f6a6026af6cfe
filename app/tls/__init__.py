"""Certificates of the admission port: issuing and checking them, keeping them in files, serving renewed ones.

`issue` and `check` are pure: bytes and times in, values or a `CertificateError` out. `files` alone writes,
`reload` only reads. Private keys are never logged, printed or put into an error message.
"""
