"""What an event costs in the front-end, against the existing library and a bare asyncio.Queue.

    python -m bench.front_end --help

Every side of a comparison is a process of its own, which lives through all rounds and measures nothing while another
one does. In each round every side runs once, the order changes from round to round, and ratios are taken within a
round: what the machine does besides hits all sides alike. A figure is the median of the rounds; the least and the
greatest stand beside it. Before a round counts, the results of all events are compared with what they must be.
"""
