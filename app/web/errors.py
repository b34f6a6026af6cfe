"""What people can mend about listening."""


class AddressInUseError(OSError):
    """The port is taken; the message says which option to change."""
