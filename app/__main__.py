"""`python -m app`: the same program as `kubewitness`."""

from app.cli.main import main

if __name__ == "__main__":
    main()
