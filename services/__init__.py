"""The processes of the pipeline, one folder each; they meet on the bus only."""
