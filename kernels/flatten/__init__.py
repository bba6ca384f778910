"""Joining axes into one. It moves no numbers: the engine takes a view, and there is no kernel to choose."""
