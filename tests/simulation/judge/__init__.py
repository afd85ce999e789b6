"""The executor's judgement of one order at IB, against a model of what IB may do and say."""
