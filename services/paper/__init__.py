"""The paper gateway: the offline stand-in for TWS / IB Gateway, speaking its wire protocol on loopback."""
