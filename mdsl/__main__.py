"""`python -m mdsl` is the command `mdsl`."""

from mdsl.command.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
