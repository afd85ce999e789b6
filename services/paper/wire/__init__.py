"""IB's wire protocol as data: framing, layouts of messages, and the record of all that went by."""
