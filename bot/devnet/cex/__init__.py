"""Binance USDⓈ-M futures' wire on the devnet."""
