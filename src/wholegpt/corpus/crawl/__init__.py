"""A polite, resumable crawl: whom it asks and when (`politeness`, `robots`, `addresses`), what it asks (`requests`),
what it keeps (`warc`, `ledger`), in what order (`queue`), and the crawler itself."""
