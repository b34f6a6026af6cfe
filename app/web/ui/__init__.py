"""The web page: server-rendered HTML that works without JavaScript, which only adds to it.

Everything that comes from the cluster is hostile here: templates escape all of it, texts are made harmless first, and
no page lets the browser run, style, load or send anything but what this package serves.
"""
