"""``python -m eavdash`` is the command line."""

from eavdash.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
