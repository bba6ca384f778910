"""Joining axes into one. It moves no data: the engine takes a view, and there is no kernel to choose."""
