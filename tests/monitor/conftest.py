from tests.orderfuse.conftest import home, settings

__all__ = ["home", "settings"]
