"""Drills: what an operator should have seen go wrong once, practised with real processes on a devnet of this machine."""
