"""The strategies that come with Hedgerow, one idea a file; each imports `bot.strategy` and nothing else of the bot."""
