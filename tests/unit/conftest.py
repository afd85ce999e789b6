from tests.offline import offline

__all__ = ["offline"]
