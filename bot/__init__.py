"""Hedgerow: a trading daemon that reads how traders are positioned, decides, writes it down, and acts."""
