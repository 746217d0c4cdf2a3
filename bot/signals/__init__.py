"""Causal functions of a panel: what is measured about how traders are positioned."""
