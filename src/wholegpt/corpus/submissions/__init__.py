"""Dumps of submissions and lists of URLs to distinct links: what `corpus links` is made of."""
