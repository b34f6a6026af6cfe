"""Receivers of notifications: one public module per sink, each with one `Sink` subclass.

A sink sends once and classifies what happened. It does not retry, sleep, read the environment, log what it
sends, or know another sink; the dispatcher owns retries.
"""
