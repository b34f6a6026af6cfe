"""The way from a queued delivery to its sink: when to try, how often, and when to give up.

A queue keeps the deliveries, a sink sends one; what lies between is here. Nothing in this package knows a
receiver, a database or HTTP.
"""
