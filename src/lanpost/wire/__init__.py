"""Protocols without I/O: bytes in, events and bytes out. No socket, no clock, no disk."""
