"""The vector store and the catalogue."""
