"""Certificates of the admission port: issuing and checking them, keeping them in files or in a Secret, serving them.

`issue`, `check`, `authorities`, `rotation` and `leaves` are pure: bytes and times in, values or a `CertificateError`
out. `files` writes files and `reload` follows them; `managed` writes the Secret and the `caBundle` of an
installation. Private keys are never logged, printed or put into an error message.
"""
