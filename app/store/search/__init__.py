"""An index beside the journal, for what the journal's own indexes cannot find.

It belongs to nobody's promise: it may be late, missing or damaged at any moment, and then reading the entries one by
one takes its place. What is found through it is verified on the entry itself. So nothing here may be needed to record,
and nothing may be written to the journal; the file is never repaired nor migrated, it is deleted and made again.
"""
