"""Sockets: one thin shell per protocol. No protocol rule is decided here."""
