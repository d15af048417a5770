"""The corpus (section 2.1): from text in files to an artifact of documents with a held-out part."""
