"""The watcher: sees Jobs fail, gathers what is known of the failure, and has it told once.

It watches and reads through `app.kube`, and changes nothing in the cluster but its own leases.
"""
