"""A simulated exchange behind Hyperliquid's own wire protocol, and if wanted Binance's, on this computer, for any client."""
