"""What people can mend about certificates."""


class CertificateError(Exception):
    """A certificate, key or name cannot be used. The message tells people which, why, and what to do."""
