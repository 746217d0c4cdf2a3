"""One trading idea a file. Each is a strategy plugin, loaded by the config."""
