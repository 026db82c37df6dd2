"""``facer`` and ``python -m facer``: the command line."""

import sys


def main() -> None:
    """Run a command; Ctrl-C while facer is loaded ends it as at any time later."""
    try:
        from facer.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
