"""The market and the account: what becomes of orders where nobody makes a mistake."""
