"""From a review to durable rows: select, diff, redact, report, append, in one transaction."""
