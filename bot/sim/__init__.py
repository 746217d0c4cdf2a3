"""The simulated exchange and the markets that feed it."""
