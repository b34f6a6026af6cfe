"""The command line: one module per group of commands. `kubewitness` and `kubectl witness` are the same program."""
