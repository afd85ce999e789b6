"""The example strategy: small market orders on the paper gateway, for ever."""
