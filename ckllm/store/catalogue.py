"""The SQL catalogue: what is known of every document, version and collection. SQLite by default, PostgreSQL by URL.

The catalogue is the authority on what is live. The vector store holds copies that searching needs; everything in it can be made
again from here. A version moves PENDING → PARSED → EMBEDDED → LIVE → OBSOLETE → forgotten, each step one transaction.
"""
