"""Web pages to text, one at a time: the first stages of `corpus build`."""
