"""The memory: a local SQLite journal that is written by one thread, and the ledger that reads it.

Nothing here knows what a change means or who is told; rows come in, rows go out.

    StoreError
    ├── IncompatibleSchemaError   the file was written by a newer version
    └── JournalInUseError         another process writes to this data directory
"""
