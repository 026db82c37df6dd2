"""``python -m facer``: the command line."""

from facer.cli import main

if __name__ == "__main__":
    main()
