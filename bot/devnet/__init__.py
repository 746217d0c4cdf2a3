"""A simulated exchange behind Hyperliquid's own wire protocol, on this computer, for any client to trade on."""
