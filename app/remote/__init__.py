"""Ledgers elsewhere: of a console that is asked over HTTP, and of several that are read as one.

They answer as the ledger of this machine does (app.store.reading). Nothing here knows who asks, or how a console is
found and what it is shown: that is the transport's.

    StoreError
    └── RemoteError   a console does not answer, or not with what was asked for
"""
