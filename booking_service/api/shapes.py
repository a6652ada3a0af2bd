"""JSON schemas that the answers of several apps are made of, for `/api/schema`."""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
OBJECT: Schema = {"type": "object"}
ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
INSTANT: Schema = {"type": "string", "format": "date-time"}
# Documents of before may have a time that is none.
MAYBE_INSTANT: Schema = INSTANT | {"nullable": True}
