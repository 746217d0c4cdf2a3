"""`python -m bot` is `hedgerow`."""

from bot.cli import main

if __name__ == "__main__":
    main()
