"""The essence of an audit: reviews in, changes and findings out.

Pure: data in, values out. No I/O, clock, randomness, logging or framework is imported here; whoever calls
passes times, keys and identifiers in.
"""
