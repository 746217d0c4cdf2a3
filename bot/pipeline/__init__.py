"""Pure functions from a snapshot to a decision: forecast, construct, review, plan."""
