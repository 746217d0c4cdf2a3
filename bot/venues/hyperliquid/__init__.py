"""Hyperliquid behind the venue port: one strict parse edge, a client, a feed, a signer's port, and the adapter."""
