"""The shell around the pure pipeline: what is remembered from cycle to cycle, and the loop that runs them."""
