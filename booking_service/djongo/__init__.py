"""The database engine: djongo's models on MongoDB's official query compiler.

djongo's own SQL parser does not run on a supported Django, so this engine is `django_mongodb_backend` plus what it
lacks: djongo's `ObjectIdField` and `DjongoManager`, transactions that retry, and indexes on document paths.
"""
